"""Reading configurations: words, quotes, blocks, comments, errors, includes."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.including import read_all
from tornado_multi.deploy.nginx.lint import lint
from tornado_multi.deploy.nginx.linting.values import parse_size_bytes, parse_time_s, size_text
from tornado_multi.deploy.nginx.reading import MAX_DEPTH, ReadingError, read
from tornado_multi.deploy.nginx.tree import Directive
from tornado_multi.deploy.nginx.writing import render

HERE = Path(__file__).parent
MUTATIONS = 10_000

WORDS: list[tuple[str, list[str]]] = [
    ("listen 80;", ["listen", "80"]),
    ("listen\t80\r\n default_server ;", ["listen", "80", "default_server"]),
    ("a 'b c' \"d e\";", ["a", "b c", "d e"]),
    ("a '' \"\";", ["a", "", ""]),
    ("'' '';", ["", ""]),
    ("default_type a#b;", ["default_type", "a#b"]),
    ("a b'c d;", ["a", "b'c", "d"]),
    ("a ${b}c;", ["a", "${b}c"]),
    ("a x${b}y$c;", ["a", "x${b}y$c"]),
    (r'a "b\"c" "d\\e" "f\tg\nh";', ["a", 'b"c', "d\\e", "f\tg\nh"]),
    (r"a b\ c d\;e \{f;", ["a", r"b\ c", r"d\;e", r"\{f"]),
    (r"a ~\.php$ '\d{2,3}' \x;", ["a", r"~\.php$", r"\d{2,3}", r"\x"]),
    ("a b}c;", ["a", "b}c"]),
    ('a "b\nc";', ["a", "b\nc"]),
    ('if ($a = "b") ;', ["if", "($a", "=", "b", ")"]),
    ('a ("b") c;', ["a", '("b")', "c"]),
    ("a \u00e4\u00a0b \u2028;", ["a", "\u00e4\u00a0b", "\u2028"]),
    ("a\x0bb\x0cc;", ["a\x0bb\x0cc"]),
    ("a " + "b" * 4095 + ";", ["a", "b" * 4095]),
    ("a # comment; }\n b;", ["a", "b"]),
]  # fmt: skip

ERRORS: list[tuple[str, int, str]] = [
    ("a", 1, 'The file ends within a directive: a ";" is missing.'),
    ("a b\n\n", 1, 'The file ends within a directive: a ";" is missing.'),
    ("a {\n b;\n", 3, 'The file ends, and the block a of line 1 has no "}".'),
    ("a;\n}", 2, 'An unexpected "}": no block is open here.'),
    ("a {\n b c }\n", 2, 'An unexpected "}": the directive b before it lacks its ";".'),
    ("a;;", 1, 'An unexpected ";": no directive stands before it.'),
    ("\n{ }", 2, 'An unexpected "{": no directive stands before it.'),
    ('a "b;\n\n', 1, 'A word begins with " here and has no closing one.'),
    ("a 'b'c;", 1, "An unexpected 'c' behind a closing ': white space, ; or { must follow."),
    ('a\n"b"', 1, 'The file ends within a directive: a ";" is missing.'),
    ("a\n " + "b" * 4096 + ";", 2, "A word is longer than 4095 bytes."),
    ("a " + "\u00e4" * 2048 + ";", 1, "A word is longer than 4095 bytes."),
    (
        "a '" + "b" * 5000,
        1,
        "A word is longer than 4095 bytes, probably because its closing ' is missing.",
    ),
    ("content_by_lua_block {\n a = {1}\n", 1, "The file ends within this block of Lua code."),
    ("a {" * (MAX_DEPTH + 1), 1, "Blocks are nested more than 100 deep."),
    (
        "\ufeffa;",
        1,
        "The file begins with a byte order mark, which nginx takes for a part of the first "  # noqa: ISC004
        "word; save it without one.",
    ),
    ("a \\", 1, 'The file ends within a directive: a ";" is missing.'),
    ("a b\\", 1, 'The file ends within a directive: a ";" is missing.'),
    ('a "b\\', 1, 'A word begins with " here and has no closing one.'),
]


def words_of(one: Directive) -> list[str]:
    return [one.name, *one.args]


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_words_end_where_nginx_ends_them(text: str, words: list[str]) -> None:
    """White space, quotes, backslashes, comments and variables are taken as nginx takes them."""
    (one,) = read(text)

    assert words == words_of(one)
    assert one.block is None


@pytest.mark.parametrize(("text", "line", "sentence"), ERRORS)
def test_an_error_names_file_line_and_what_is_wrong(text: str, line: int, sentence: str) -> None:
    """What nginx refuses is refused with file:line and a sentence."""
    with pytest.raises(ReadingError) as caught:
        read(text, "/etc/nginx/nginx.conf")

    assert f"/etc/nginx/nginx.conf:{line}: {sentence}" == str(caught.value)


def test_blocks_nest_and_lines_are_counted() -> None:
    """A directive knows the line of its first word, behind comments, line ends of Windows and quotes."""
    tree = read('# one\r\nhttp {\r\n  log "a\nb"\n c;\n  server { listen 80; }\n}\nend;', "f")

    assert [("http", 2), ("end", 8)] == [(one.name, one.line) for one in tree]
    inner = tree[0].block
    assert inner is not None
    assert [("log", 3, "f"), ("server", 6, "f")] == [
        (one.name, one.line, one.file) for one in inner
    ]
    assert [Directive("listen", ("80",), line=6, file="f")] == list(inner[1].block or ())
    assert () == read("  # nothing\n")
    assert () == read("a {}")[0].block


def test_lua_is_taken_as_it_is() -> None:
    """The code of a Lua block ends at its own brace, whatever stands in its texts and comments."""
    code = """
        local a = { b = "}" } -- }
        --[[ } ]] local c = [==[ } ]==]
        ngx.say('\\'}')
    """
    tree = read(f"location / {{ content_by_lua_block {{{code}}} }}\nset_by_lua_block $x {{ }} a;")
    lua = (tree[0].block or ())[0]

    assert ["content_by_lua_block", code] == words_of(lua)
    assert ["$x", " "] == list(tree[1].args)
    assert ["set_by_lua_block", "a"] == [one.name for one in tree[1:]]
    assert tree[2].line == 6


def write(tree: tuple[Directive, ...], choose: random.Random) -> str:
    """Write a tree in any of the ways that mean the same."""
    parts = []
    for one in tree:
        space = choose.choice([" ", "\n", "\r\n\t", ' # a comment; } "\n'])
        words = space.join(quoted(word, choose) for word in words_of(one))
        end = ";" if one.block is None else f"{{{write(one.block, choose)}}}"
        parts.append(f"{words}{choose.choice(['', ' ', chr(10)])}{end}")
    return choose.choice(["", " ", "\n"]).join(parts)


def quoted(word: str, choose: random.Random) -> str:
    if word.isalnum() and choose.random() < 0.5:
        return word
    mark = choose.choice("\"'")
    return mark + word.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(
    "\"'\\;{}#$ \t\n\rtnr", max_size=12
)
NAMES = TEXTS.filter(lambda text: not text.endswith("_by_lua_block"))
TREES = st.recursive(
    st.builds(Directive, NAMES, st.lists(TEXTS, max_size=3).map(tuple)),
    lambda inner: st.builds(
        Directive, NAMES, st.lists(TEXTS, max_size=2).map(tuple), st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=12,
)  # fmt: skip


def bare(tree: tuple[Directive, ...]) -> tuple[Directive, ...]:
    """Return a tree without places."""
    return tuple(
        Directive(one.name, one.args, None if one.block is None else bare(one.block))
        for one in tree
    )


@given(st.lists(TREES, max_size=4).map(tuple), st.randoms(use_true_random=False))
def test_what_is_written_is_read_back(tree: tuple[Directive, ...], choose: random.Random) -> None:
    """Any tree, in any spelling, is the same tree when it is read."""
    assert tree == bare(read(write(tree, choose)))


@given(st.lists(TREES, max_size=4).map(tuple))
def test_what_our_writer_writes_is_read_back(tree: tuple[Directive, ...]) -> None:
    """The writer of generated configurations and the reader agree, or the writer refuses."""
    try:
        text = render(tree)
    except RefusedError:
        return

    assert tree == bare(read(text))


def test_damaged_configurations_are_read_or_refused() -> None:
    """Whatever the text, there is a tree or the one error; lint takes every tree; none takes long."""
    seeds = [
        (HERE / name).read_text(encoding="utf-8") for name in ("clean.conf", "tornado_guide.conf")
    ]
    seeds.append(
        "http { content_by_lua_block { a = [[x]] } upstream u { server unix:/a; } server { location ~ ^/a { proxy_pass http://u; } } }"
    )
    choose = random.Random(8)
    pieces = ["{", "}", ";", '"', "'", "\\", "$", "${", "#", "\n", "\x00", "\udc80", "location / {", "server", "proxy_pass http://app;", "proxy_pass", "listen [;", "map a b {", "\ufeff", "9" * 30, "if (", "0"]  # fmt: skip
    begin_s = time.process_time()
    read_well = 0
    for _ in range(MUTATIONS):
        text = choose.choice(seeds)
        for _ in range(choose.randint(1, 4)):
            at = choose.randrange(len(text) + 1)
            text = (
                text[:at] + choose.choice([*pieces, ""]) + text[at + choose.choice([0, 0, 1, 9]) :]
            )
        try:
            tree = read(text, "f")
        except ReadingError:
            continue
        lint(tree)
        read_well += 1

    assert read_well > MUTATIONS / 20, "too few got as far as the rules"
    assert time.process_time() - begin_s < 120, "a guard against walks that never end"


# --- includes -------------------------------------------------------------------------------------


class Texts:
    """Files in memory."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

    def read(self, path: str) -> str:
        if path not in self._files:
            raise FileNotFoundError(2, "No such file or directory")
        if self._files[path] == "secret":
            raise PermissionError(13, "Permission denied")
        return self._files[path]

    def glob(self, pattern: str) -> list[str]:
        head = pattern.partition("*")[0]
        return sorted(path for path in self._files if path.startswith(head))


def names(path: str, files: dict[str, str]) -> list[str]:
    def walk(tree: tuple[Directive, ...]) -> list[str]:
        return [name for one in tree for name in (one.name, *walk(one.block or ()))]

    return walk(read_all(path, Texts(files)))


def test_includes_are_replaced_by_what_they_lead_to() -> None:
    """Relative paths belong to the main file's directory; patterns may match nothing."""
    files = {
        "/e/nginx.conf": "a; http { include mime.types; include conf.d/*.conf; include none/*; } b;",
        "/e/mime.types": "types { x y; }",
        "/e/conf.d/1.conf": "server { include snippets/deep; }",
        "/e/conf.d/2.conf": "two;",
        "/e/snippets/deep": "deep;",
    }

    assert ["a", "http", "types", "x", "server", "deep", "two", "b"] == names(
        "/e/nginx.conf", files
    )


def test_directives_know_the_file_that_they_are_from() -> None:
    """The place of an included directive is in the included file."""
    files = {"/e/nginx.conf": "http {}\n include a;", "/e/a": "\n\nx;"}
    (_, one) = read_all("/e/nginx.conf", Texts(files))

    assert ("/e/a", 3) == (one.file, one.line)


def test_a_part_looks_in_the_directories_above() -> None:
    """sites-enabled/shop includes proxy_params of /etc/nginx, as when nginx reads it."""
    files = {"/e/sites-enabled/shop": "server { include proxy_params; }", "/e/proxy_params": "x;"}

    assert ["server", "x"] == names("/e/sites-enabled/shop", files)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "/e/n: Can't read it: No such file or directory."),
        (
            {"/e/n": "http {}\ninclude a/b;"},
            "/e/n:2: The included file /e/a/b does not exist.",
        ),
        (
            {"/e/n": "http {} include a;", "/e/a": "secret"},
            "/e/n:1: Can't read the included file /e/a: Permission denied.",
        ),
        (
            {"/e/n": "http {} include a*;", "/e/a1": "secret"},
            "/e/n:1: Can't read the included file /e/a1: Permission denied.",
        ),
        (
            {"/e/n": "http {} include a;", "/e/a": "x;\ninclude b;", "/e/b": "include a;"},
            "/e/b:1: /e/a is included by itself.",
        ),
        ({"/e/n": "http {} include n;"}, "/e/n:1: /e/n is included by itself."),
        ({"/e/n": "http {} include a;", "/e/a": "x"}, '/e/a:1: The file ends within a directive: a ";" is missing.'),
    ],
)  # fmt: skip
def test_an_include_that_fails_is_named(files: dict[str, str], message: str) -> None:
    """A file that is missing, unreadable, broken or part of a loop is named with what includes it."""
    with pytest.raises(ReadingError) as caught:
        read_all("/e/n", Texts(files))

    assert message == str(caught.value)


def test_files_that_double_themselves_come_to_an_end() -> None:
    """Includes without a loop can still be too many."""
    files = {f"/e/{level}": f"include {level + 1}; include {level + 1};" for level in range(30)}
    files |= {"/e/n": "http {} include 0;", "/e/30": "x;"}
    with pytest.raises(ReadingError, match="More than 5000 files are included"):
        read_all("/e/n", Texts(files))


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "time_s"),
    [("60", 60), ("60s", 60), ("1h 30m", 5400), ("1h30m", 5400), ("500ms", 0.5), ("1d", 86400), ("1M", 2592000), ("$a", None), ("", None), ("1x", None)],
)  # fmt: skip
def test_times_are_those_of_nginx(text: str, time_s: float | None) -> None:
    """Minutes are m, months M, milliseconds ms; what is no time is not known."""
    assert time_s == parse_time_s(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("100m", 104857600), ("50M", 52428800), ("8k", 8192), ("1G", 1 << 30), ("5", 5), ("1t", None), ("$a", None)],
)  # fmt: skip
def test_sizes_are_those_of_nginx(text: str, size: int | None) -> None:
    """Letters stand for powers of 1024; what is no size is not known."""
    assert size == parse_size_bytes(text)
    assert size is None or size == parse_size_bytes(size_text(size))
