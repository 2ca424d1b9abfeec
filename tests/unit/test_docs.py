"""The docs say what the code does: links, code blocks, options, codes, keys and paths."""

from __future__ import annotations

import ast
import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.histories import replay, serving
from support.worlds import audit
from tornado.web import Application

from tornado_multi.cli.commands import read_settings, run_command, split_app_arguments
from tornado_multi.forksafety.findings import KINDS, make_finding, to_plain
from tornado_multi.forksafety.library_threads import RULES
from tornado_multi.process import scoreboard
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.messages import Message
from tornado_multi.settings.load import ENVIRONMENT_PREFIX, FILE_TABLES, _known_keys
from tornado_multi.settings.model import GROUPS, TABLES, options_of
from tornado_multi.settings.nginx import NginxSettings
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.state import ReloadReport
from tornado_multi.supervisor.status import Address, Identity, build_status
from tornado_multi.testing.dubbo.__main__ import make_parser

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
GENERATED = {
    REPOSITORY / "docs" / "reference" / f"{name}.md" for name in ("options", "nginx-options")
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (?:tornado-multi|python -m tornado_multi) (.+)$", re.MULTILINE)
OTHER_FLAGS = {
    "--help", "--version", "--json", "--app", "--config", "--no-wait-drain",
    "--logging", "--database",  # of the app, after --
    "--strict-warnings", "--trace", "--factory", "--check",
    "--unix-socket",  # of curl
    "--part", "--output", "--reload-nginx", "--live",  # of the command nginx
    "--follow", "--fork-id", "--level", "--since", "--grep", "--tail",  # of the command logs
}  # fmt: skip

RESOURCE = {"name": "shop.accounts", "created_unix_s": 1.5, "healthy": None, "health": None}


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks(language: str) -> list[Any]:
    """Return every code block of a language, named by its page and number."""
    return [
        pytest.param(code, id=f"{page.relative_to(REPOSITORY)} {number}")
        for page in PAGES
        for number, (kind, code) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
        if kind == language
    ]


def without_blocks(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def first_cells(page: str, heading: str = "") -> list[str]:
    """Return the first cell of each row of the tables below a heading, or of the whole page."""
    text = text_of(page).partition(f"\n{heading}\n")[2] if heading else text_of(page)
    if heading:
        level = heading.split(" ", maxsplit=1)[0]
        text = re.split(rf"^{level} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [row.split(" | ")[0].removeprefix("| ").strip("`") for row in rows]


def flags() -> set[str]:
    found = {*OTHER_FLAGS, *re.findall(r"--[a-z-]+", make_parser().format_help())}
    for name, group in {**GROUPS, "nginx": NginxSettings}.items():
        prefix = f"{name}." if name in TABLES else ""
        found |= {f"--{prefix}{item.name.replace('_', '-')}" for item, _ in options_of(group)}
    return found


def whole_status() -> dict[str, Any]:
    """Return a status in which no part is null: a reload is under way, another one has ended."""
    state = replay([*serving(), (1.0, ev.ReloadAsked("SIGHUP"))]).state
    state.audits[1] = audit()
    state.last_reload = ReloadReport(
        number=1, succeeded=True, generation=1, duration_s=1.0, import_s=0.1, canary_s=0.1,
        drained=1, cut=0, notes=[],
    )  # fmt: skip
    identity = Identity(
        pid=1, name="shop", version="0.1.0", app="shop:make_app", control_path="/run/shop.sock", control_options="",
        addresses=(Address("http://127.0.0.1:8888"),), backlog=1, started_s=0.0,
    )  # fmt: skip
    return build_status(
        identity, state, lambda *_: 1, lambda *_: None, 2.0, told_by=lambda _: {"resources": [RESOURCE], "slow_steps": []}, strangers_reaped=0,
    )  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """A link to another page or file of this repository resolves."""
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", without_blocks(page))

    assert [] == [target for target in targets if not (page.parent / target).exists()]


def test_every_page_can_be_found_from_the_map() -> None:
    """docs/index.md links to every page below docs/."""
    linked = set(re.findall(r"\]\(([^)]+\.md)\)", text_of("docs/index.md")))
    pages = {str(page.relative_to(REPOSITORY / "docs")) for page in REPOSITORY.glob("docs/**/*.md")}

    assert set() == pages - {"index.md"} - linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_one_sentence_stands_on_one_line(page: Path) -> None:
    """Prose has one sentence per source line, so that a change shows as one line."""
    prose = [line for line in without_blocks(page).splitlines() if not line.startswith("|")]

    assert page in GENERATED or [] == [
        line for line in prose if re.search(r"[a-z`)]\. [A-Z]", re.sub(r"`[^`]*`", "``", line))
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_compile(code: str) -> None:
    """What is shown as Python is Python."""
    ast.parse(code)


def test_the_app_of_the_readme_is_an_app() -> None:
    """The first example works when it is pasted into a file."""
    code = next(code for kind, code in BLOCK.findall(text_of("README.md")) if kind == "python")
    module: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), module)

    assert isinstance(module["make_app"](), Application)


@pytest.mark.parametrize("code", blocks("toml"))
def test_toml_blocks_hold_known_keys(code: str) -> None:
    """What is shown as a configuration file can be used as one."""
    values = tomllib.loads(code)
    keys = [
        f"{key}.{inner}" if key in FILE_TABLES else key
        for key, value in values.items()
        for inner in (value if key in FILE_TABLES else [key])
    ]

    assert [] == [key for key in keys if key not in _known_keys()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_flag_exists(page: Path) -> None:
    """Whatever looks like a flag of ours is one; other programs' flags stand with one dash."""
    mentioned = re.findall(r"(?<![\w-])--[a-z][\w.-]*[a-z0-9]", page.read_text(encoding="utf-8"))

    assert [] == sorted({flag for flag in mentioned if flag not in flags()})


@pytest.mark.parametrize(
    "line",
    sorted({line for page in PAGES for line in COMMAND.findall(page.read_text(encoding="utf-8"))}),
)
def test_serve_takes_the_command_lines_that_are_shown(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ``serve`` in a code block is understood."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    own, _ = split_app_arguments(shlex.split(line))
    if own[0] == "serve" and len(own) > 1:
        assert read_settings(own).app.endswith(":make_app")


def test_every_command_has_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of --help are those of the commands page."""
    run_command(["--help"])
    listed = set(re.findall(r"^  ([a-z]+(?: [a-z]+)?): ", capsys.readouterr().out, re.MULTILINE))
    page = text_of("docs/reference/commands.md")

    assert listed == set(re.findall(r"^#{2,3} ([a-z]+(?: [a-z]+)?)$", page, re.MULTILINE))
    cells = first_cells("docs/reference/commands.md")
    in_table = {" ".join(word for word in cell.split(" ") if word.islower()) for cell in cells}
    assert listed == {cell for cell in in_table if not cell.startswith("-")} - {
        "command",
        "option",
        "",
    }


def test_every_exit_code_is_listed() -> None:
    """The exit codes page has each code with its name."""
    page = text_of("docs/reference/exit-codes.md")

    assert [] == [code for code in ExitCode if f"| {int(code)} | `{code.name}` |" not in page]


@pytest.mark.parametrize(
    "table",
    [
        *("", "listeners", "zygotes", "workers", "resources", "reload", "last_reload"),
        *("fork_safety", "findings"),
    ],
)
def test_every_key_of_the_status_is_explained(table: str) -> None:
    """The status page has a row for each key, in the table of its part, and no others."""
    status = whole_status()
    finding = to_plain(make_finding("thread", 'thread "poll" is running'))
    inner = {"resources": status["workers"][0]["resources"], "findings": [finding]}
    part = (status | inner)[table] if table else status
    heading = f"## `{table}`" if table else "## The service"
    explained = first_cells("docs/reference/status.md", heading)[2:]

    assert sorted((part[0] if isinstance(part, list) else part).keys()) == sorted(explained)


def test_every_library_whose_threads_are_known_is_on_its_page() -> None:
    """What the audit says of a library can be read without meeting it."""
    explained = first_cells("docs/reference/libraries.md", "## Clients with threads")

    assert set() == {rule.library for rule in RULES.values()} - set(explained)


def test_every_kind_of_finding_has_its_row() -> None:
    """The findings page says of each kind what the audit says of it, and nothing else."""
    rows = []
    for kind in sorted(KINDS):
        finding = make_finding(kind, "x")
        fate = finding.fate.text.rstrip(".") if finding.word != "info" else finding.fate.state
        rows.append(f"| `{kind}` | {finding.word} | {finding.harm} | {fate} | {finding.mend} |")
    page = text_of("docs/reference/findings.md")

    assert rows == re.findall(r"^\| `.*\|$", page, re.MULTILINE)


def test_every_path_of_the_change_table_exists() -> None:
    """Where ARCHITECTURE sends people, there is something."""
    table = text_of("ARCHITECTURE.md").partition("## I want to change")[2].partition("\n## ")[0]
    paths = [path for path in re.findall(r"`([^`]+)`", table) if not path.startswith("make ")]

    assert len(paths) > 40
    assert [] == [path for path in paths if not (REPOSITORY / path).exists()]


def test_every_message_is_in_the_architecture() -> None:
    """The table of messages holds the messages that there are."""
    listed = first_cells("ARCHITECTURE.md", "## Messages between our processes")[2:]

    assert sorted(kind.__name__ for kind in Message.__args__) == sorted(listed)


def test_every_field_of_a_row_is_in_the_architecture() -> None:
    """The table of the scoreboard holds each field under its number."""
    page = text_of("ARCHITECTURE.md")
    found = re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", page, re.MULTILINE)
    numbered = {name: int(number) for number, name in found}

    assert {name: getattr(scoreboard, name) for name in numbered} == numbered
    assert list(range(len(numbered))) == sorted(numbered.values())
    assert scoreboard.STARTED_NS == max(numbered.values())
