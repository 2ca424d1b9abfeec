"""The command ``nginx lint``: what it reads, prints and returns; samples as people have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

DEPLOY = Path(__file__).parents[1] / "deploy"
SAMPLES = DEPLOY / "samples"


@pytest.fixture
def lint(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in an empty directory; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["nginx", "lint", *map(str, arguments)])
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return run


def kinds(output: str) -> set[str]:
    return {one["kind"] for one in json.loads(output)}


@pytest.mark.parametrize(
    ("sample", "code", "expected"),
    [
        (
            "friendfeed.conf",
            1,
            {"max-fails", "no-zone", "no-websockets", "any-host", "body-size"}
            | {"query-string-expires", "no-keepalive", "no-default-server", "server-tokens"},
        ),
        (
            "gunicorn.conf",
            1,
            {"any-host", "no-websockets", "client-address-forged", "body-size-above"}
            | {"no-keepalive", "server-tokens"},
        ),
        (
            "compose.conf",
            1,
            {"no-host", "no-client-address", "no-scheme", "body-size", "read-timeout"}
            | {"buffered-stream", "resolved-once"},
        ),
        ("ingress.conf", 0, set()),
        (
            "debian/nginx.conf",
            1,
            {"max-fails", "no-zone", "no-websockets", "any-host", "body-size"}
            | {"no-keepalive", "server-tokens"},
        ),
        (
            "debian/sites-enabled/shop",
            1,
            {"max-fails", "no-zone", "no-websockets", "any-host", "body-size", "no-keepalive"},
        ),
        ("debian/sites-enabled/default", 0, set()),
    ],
)
def test_samples_are_told_what_they_lack(
    lint: Any, sample: str, code: int, expected: set[str]
) -> None:
    """Configurations as pages and packages have them: exactly these kinds, and the exit code for them."""
    seen, out, err = lint(SAMPLES / sample, "--json", "--nginx-version", "1.22.1")

    assert (code, "") == (seen, err)
    assert expected == kinds(out)


def test_the_output_names_place_harm_and_mend(lint: Any) -> None:
    """A finding has its line, what it does, what to write and its kind; the end says what was assumed."""
    text = (DEPLOY / "tornado_guide.conf").read_text()
    Path("n.conf").write_text(text.replace("include /etc/nginx/mime.types;", ""))
    code, out, err = lint("n.conf", "--nginx-version", "1.22.1")

    assert (1, "") == (code, err)
    lines = out.splitlines()
    assert lines[0] == "1 error, 4 warnings in n.conf"
    assert lines[2].startswith("error    upstream frontends: 127.0.0.1:8000 has no max_fails")
    assert lines[2].endswith("n.conf:17")
    assert lines[3].startswith("         One failed try ejects a server")
    assert lines[4].startswith("         Mend: server 127.0.0.1:8000 max_fails=0;")
    assert lines[5] == "         Kind: max-fails"


def test_values_of_the_app_come_from_its_settings(lint: Any) -> None:
    """The file, the environment and flags say what the app takes, and the output repeats it."""
    Path("tornado_multi.toml").write_text(
        'app = "shop:make_app"\nworkers = "2"\n[http]\nmax_body_size_bytes = 52428800\n'
    )
    Path("n.conf").write_text((DEPLOY / "clean.conf").read_text())
    code, out, _ = lint("n.conf", "--nginx-version", "1.22.1")

    assert code == 0
    assert "body-size-above" in out
    assert "http.max_body_size_bytes=52428800 (as set; 50m for nginx)" in out
    assert "http.idle_timeout_s=75 (the default)" in out
    assert "Judged for nginx 1.22.1." in out

    code, out, _ = lint("n.conf", "--http.max-body-size-bytes", "104857600")

    assert code == 0
    assert out.startswith("Nothing found in n.conf.\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "http {\n  server {\n",
            'n.conf:3: The file ends, and the block server of line 2 has no "}".',
        ),
        ("http {}\ninclude gone;", "n.conf:2: The included file {cwd}/gone does not exist."),
        (None, "n.conf: Can't read it: No such file or directory."),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(
    lint: Any, text: str | None, sentence: str
) -> None:
    """A file that is missing or broken is a usage error with file:line and a sentence."""
    if text is not None:
        Path("n.conf").write_text(text)
    code, out, err = lint("n.conf")

    assert (2, "") == (code, out)
    assert f"tornado-multi: {sentence.replace('{cwd}', str(Path.cwd()))}\n" == err


def test_bytes_that_are_no_text_do_no_harm(lint: Any) -> None:
    """Just as nginx, it doesn't mind the encoding of comments and paths, and what is printed is printable."""
    Path("n.conf").write_bytes(
        b"# \xff\nserver { location /\xff\x1b { proxy_pass http://a\xfe:1; } }\n"
    )
    code, out, err = lint("n.conf")

    assert (1, "") == (code, err)
    assert "\\udcff\\x1b" in out


@pytest.mark.parametrize("version", ["1.x", "", "22"])
def test_a_version_must_be_one(lint: Any, version: str) -> None:
    """--nginx-version takes what nginx -v says."""
    Path("n.conf").write_text("")
    code, _, err = lint("n.conf", f"--nginx-version={version}")

    assert code == 2
    assert f"{version!r} is no version such as 1.22.1" in err


def test_a_file_that_never_ends_is_left(lint: Callable[..., tuple[int, str, str]]) -> None:
    """Before it takes all memory."""
    code, _, err = lint("/dev/zero")

    assert 2 == code
    assert "Can't read it: it has more than" in err
