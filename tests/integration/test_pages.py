"""The pages of the docs do what they say: each command and each file of them, in order."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest
from support.machines import REPOSITORY, Machine, refusal
from support.pages import NOT_RUN_REASONS, File, NotRun, PageError, Step, read_steps

if TYPE_CHECKING:
    from pathlib import Path

SHOP_PAGE = "docs/howto/start-a-service.md"
CHECKOUT_PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/explanation/two-bugs.md",
    "docs/explanation/one-connection-for-four.md",
)
ROOT_PAGES = (
    "docs/howto/behind-a-proxy.md",
    "docs/howto/nginx-and-instances.md",
    "docs/howto/run-as-another-user.md",
)
"""They need another group, or user, than our own."""

CHECKOUT = "/srv/checkout"
SHOP = "/srv/shop"

pytestmark = pytest.mark.process


def steps_of(page: str) -> list[Step]:
    return read_steps(page, (REPOSITORY / page).read_text(encoding="utf-8"))


def pages() -> list[str]:
    """Return the pages for users that show commands."""
    found = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]
    return [
        str(page.relative_to(REPOSITORY))
        for page in found
        if "```console" in page.read_text(encoding="utf-8")
    ]


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    if problem := refusal():
        pytest.fail(problem)


def prepare(machine: Machine, page: str) -> None:
    """Bring about what the reader of the page has: a checkout, or the app of the first how-to."""
    if page in CHECKOUT_PAGES:
        copied = ["Makefile", "setup.cfg", "pyproject.toml", "demo_app"]
        sources = " ".join(shlex.quote(str(REPOSITORY / name)) for name in copied)
        machine.prepare(f"cp -a {sources} . && ln -s {shlex.quote(sys.prefix)} .venv")
    elif page != SHOP_PAGE:
        machine.perform(next(step for step in steps_of(SHOP_PAGE) if isinstance(step, File)))


@pytest.mark.parametrize("page", pages())
def test_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    """Every block of a page has the effect and the output that it shows, and no process is left."""
    if page in ROOT_PAGES and os.getuid() != 0:
        pytest.skip("This page sets a group or a user, so it is run as root.")
    with Machine(tmp_path, CHECKOUT if page in CHECKOUT_PAGES else SHOP) as machine:
        prepare(machine, page)
        for step in steps_of(page):
            machine.perform(step)
        machine.finish()


def test_only_blocks_that_cannot_be_run_are_left_out() -> None:
    """Each reason for leaving a block out is still needed by some page."""
    reasons = {
        step.reason for page in pages() for step in steps_of(page) if isinstance(step, NotRun)
    }

    assert reasons == NOT_RUN_REASONS


APP = """
The app is `hello.py`:

```python
from tornado.web import Application

def make_app():
    return Application()
```

"""

EVERYTHING = """
```console
$ tornado-multi serve hello:make_app --workers 1
$ pgrep -a -f 'tornado_multi: '
91 tornado_multi: supervisor hello
...
93 tornado_multi:   worker 0 gen 1
$ kill -9 93
```

```text
2020-01-01 00:00:00 worker fork_id=0 gen=1 pid=93: warning: The worker was ended by SIGKILL; replacing it.
...
2020-01-01 00:00:00 worker fork_id=0 gen=1 pid=94: Ready after 1 ms.
```

```console
$ export SHOWN=yes
$ for word in a b
> do echo $word $SHOWN
> done
a yes
b yes
$ kill -0 93
...
$ echo $?
1
$ kill -0 94
```
"""


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        pytest.param(
            "```console\n$ printf 'a\\nb\\n'\na\nc\n```\n", 2,
            "printed something else\nexpected:\n  a\n  c\nseen:\n  a\n  b", id="another line",
        ),
        pytest.param(
            "```console\n$ echo a\na\nb\n```\n", 2,
            "printed something else\nexpected:\n  a\n  b\nseen:\n  a", id="a line that does not come",
        ),
        pytest.param(
            "```console\n$ echo a\n```\n", 2,
            "printed something else\nexpected:\n  (nothing)\nseen:\n  a", id="a line not shown",
        ),
        pytest.param(
            "```console\n$ false\n```\n", 2,
            "`false` exited with 1, and no `$ echo $?` follows", id="a failure not shown",
        ),
        pytest.param(
            "```console\n$ (exit 3)\n$ echo $?\n4\n```\n", 3,
            "printed something else\nexpected:\n  4\nseen:\n  3", id="another code",
        ),
        pytest.param(
            "```console\n$ echo a && sleep 600\na\n```\n", 2,
            "has not ended within 5 s, or ended the shell\nexpected:\n  a\nseen:\n  a",
            id="a command that hangs",
        ),
        pytest.param(
            "```console\n$ exit 1\n```\n", 2,
            "`exit 1` has not ended within 5 s, or ended the shell", id="the end of the shell",
        ),
        pytest.param(
            "<!-- run: false -->\n", 1, "`false` exited with 1", id="a hidden command that fails",
        ),
        pytest.param(
            "```console\n$ sleep 600 &\n```\n", None,
            "no process is left by the page", id="a process left",
        ),
        pytest.param(
            APP + "```console\n$ tornado-multi serve hello:make_app --bind nowhere\n```\n", 12,
            "has exited with 2 and not printed this", id="a service that does not start",
        ),
        pytest.param(
            APP + "```console\n$ tornado-multi serve hello:make_app\ntornado_multi 9\n```\n", 12,
            "has not printed this within 5 s", id="another startup block",
        ),
        pytest.param(
            APP + "```console\n$ tornado-multi serve hello:make_app\n```\n\n```text\nStopped.\n```\n", 15,
            "has not printed this within 5 s\nexpected:\n  Stopped.\nseen:\n  (nothing)",
            id="a log line that does not come",
        ),
        pytest.param(
            APP + "```console\n$ tornado-multi serve hello:make_app\n$ pkill -KILL -o tornado\n"
            "```\n\n```text\nx\n```\n", 16,
            "has exited with 137 and not printed this", id="a service that ends",
        ),
    ],
)  # fmt: skip
def test_what_differs_is_reported_with_its_place(
    text: str, line: int | None, problem: str, tmp_path: Path
) -> None:
    """The report names page and line, what was expected and what was seen."""
    with Machine(tmp_path, SHOP, within_s=5) as machine:

        def run() -> None:
            for step in read_steps("page.md", text):
                machine.perform(step)
            machine.finish()

        with pytest.raises(AssertionError) as raised:
            run()

    assert problem in str(raised.value)
    assert line is None or str(raised.value).startswith(f"page.md:{line}: ")


def test_a_page_may_use_pids_codes_and_files(tmp_path: Path) -> None:
    """Pids stand for processes, ``...`` for any lines, ``>`` continues, and codes are shown."""
    with Machine(tmp_path, SHOP) as machine:
        for step in read_steps("page.md", APP + EVERYTHING):
            machine.perform(step)
        machine.finish()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```\nx\n```\n", "page.md:1: a block begins in the first column with ```LANGUAGE"),
        ("- x\n\n  ```text\n  x\n  ```\n", "page.md:3: a block begins in the first column"),
        ("```text\nx\n", "page.md:1: the block has no end"),
        ("```console\nls\n```\n", "page.md:1: a console block begins with a line '$ COMMAND'"),
        ("Write `myapp`:\n\n```python\nx\n```\n", "page.md:3: the sentence before the block names"),
        ("<!-- not run: no time -->\n```text\nx\n```\n", "page.md:2: not run for a reason that is not"),
        ("<!-- not run: -->\n```text\nx\n```\n", "page.md:1: a comment is <!-- run: COMMAND --> or"),
        ("<!-- to do -->\n", "page.md:1: a comment is <!-- run: COMMAND --> or"),
    ],
)  # fmt: skip
def test_a_page_that_breaks_the_rules_is_refused(text: str, problem: str) -> None:
    """A block or a comment that no rule covers is named; nothing is left out silently."""
    with pytest.raises(PageError) as raised:
        read_steps("page.md", text)

    assert str(raised.value).startswith(problem)
