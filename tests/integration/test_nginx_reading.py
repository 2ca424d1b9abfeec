"""What the real nginx takes and refuses, held against our reading."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from support.programs import require_program

from tornado_multi.deploy.nginx.including import read_all
from tornado_multi.deploy.nginx.reading import ReadingError, read

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process

LOCATION = "events {} http { access_log off; server { listen 127.0.0.1:1; %s } }"
TAKEN = {
    "line ends of Windows": LOCATION.replace(" ", "\r\n") % "set $a 'x\r\ny';",
    "quotes": LOCATION % r"""set $a "it's"; set $b 'say "x"'; set $c "\"\\\'\t"; set $d '';""",
    "quotes within a word": LOCATION % """set $a b"c"d'e;""",
    "a brace within a word": LOCATION % "set $a b}c; location ~ ^/[0-9]+}x { return 204; }",
    "variables in braces": LOCATION % 'set $a x; set $b ${a}y${a}; set $c "{${a}}";',
    "a regular expression with braces": LOCATION % r"""location ~ "^/\d{2,3}\.html$" { return 204; }""",
    "backslashes before what ends words": LOCATION % r"set $a b\ c\;d\{e;",
    "a comment right behind": LOCATION % "set $a b;# } {\n#\n set $c d#e;",
    "words on many lines": LOCATION % "set\n\t$a\n\n'b'\n;",
    "an if with a quoted text before its bracket": LOCATION % """if ($uri = "/a") { return 204; }""",
    "empty blocks": "events{}http{server{listen 127.0.0.1:1;location /{}}}",
    "the longest word": LOCATION % f"set $a {'b' * 4095};",
    "any bytes": LOCATION % "set $a \u00e4\u00a0\u2028\x0b;",
    "a map of odd words": 'events {} http { map $uri $a { default ""; "" b; "~^/c{1}" d; \'e f\' g; } }',
    "no line end at the end": "events {}",
    "nothing but a comment at the end": "events {}\n# end",
    "an include that matches nothing": "events {} include none/*.conf;",
    "an include of a part": "events {} include part.conf;",
}  # fmt: skip
REFUSED = {
    "an open block": "events {} http {",
    "a brace too many": "events {} }",
    "a missing semicolon": LOCATION % "set $a b",
    "a semicolon too many": "events {};",
    "an open quote": LOCATION % "set $a 'b;",
    "text behind a quote": LOCATION % "set $a 'b'c;",
    "a word too long": LOCATION % f"set $a {'b' * 4096};",
    "a backslash at the end": "events {} a \\",
    "a byte order mark": "\ufeffevents {}",
    "a missing include": "events {} include none.conf;",
}


class Files:
    def read(self, path: str) -> str:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()

    def glob(self, pattern: str) -> list[str]:
        assert pattern.endswith("none/*.conf")
        return []


def judge(text: str, directory: Path) -> tuple[str, bool, str]:
    """Let nginx judge. Returns the file's path, whether nginx takes it, and what it says."""
    program = require_program("nginx", "nginx")
    (directory / "part.conf").write_text("http { }\n")
    file = directory / "nginx.conf"
    file.write_text(f"pid {directory}/pid;" * (text[0] != "\ufeff") + text, "utf-8", newline="")
    done = subprocess.run(
        [program, "-t", "-p", directory, "-e", "stderr", "-c", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return str(file), done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TAKEN)
def test_what_nginx_takes_is_read(name: str, tmp_path: Path) -> None:
    """A configuration that nginx takes, however odd, is read."""
    file, is_taken, said = judge(TAKEN[name], tmp_path)

    assert is_taken, said
    assert "events" in {one.name for one in read_all(file, Files())}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nginx_cannot_read_is_refused(name: str, tmp_path: Path) -> None:
    """A configuration that nginx can't take apart is an error here, too."""
    file, is_taken, _ = judge(REFUSED[name], tmp_path)

    assert not is_taken
    with pytest.raises(ReadingError):
        read_all(file, Files())


@pytest.mark.parametrize(
    "word", ["a b", "it's", 'say "x"', "\\d\\\\", "tab\tand\nline", "{};#", "", "\u00e4", "a\\tb", "\\"]
)  # fmt: skip
def test_nginx_reads_the_same_words(word: str, tmp_path: Path) -> None:
    """A word in quotes means to nginx what it means here: an unknown directive is named by it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    text = f'"x{escaped}" y;'
    _, is_taken, said = judge(text, tmp_path)
    (one,) = read(text)

    assert not is_taken
    assert f'unknown directive "{one.name}" in' in said
