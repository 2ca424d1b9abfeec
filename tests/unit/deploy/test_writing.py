"""Directives as text that nginx reads back as the same directives."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import crossplane
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.tree import Directive
from tornado_multi.deploy.nginx.writing import literal, quote, render, to_plain

WRITABLE = st.characters(exclude_categories=["Cs", "Cc"])
ARGUMENTS = st.one_of(
    st.text(WRITABLE, max_size=30),
    st.text(st.sampled_from("ab \"'\\;{}#$nrt/~*"), max_size=12),
)
NAMES = st.sampled_from(["server_name", "add_header", "alias", "return"])
LEAVES = st.builds(Directive, NAMES, st.lists(ARGUMENTS, min_size=1, max_size=3).map(tuple))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        Directive, st.just("location"), st.tuples(ARGUMENTS), st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=8,
)


def read_back(text: str) -> list[dict[str, Any]]:
    """Return what an independent parser makes of it: directive, args, block."""
    with TemporaryDirectory() as directory:
        file = Path(directory, "nginx.conf")
        file.write_text(text, encoding="utf-8")
        payload = crossplane.parse(
            os.fspath(file), single=True, strict=False, check_args=False, check_ctx=False
        )

    assert "ok" == payload["status"], payload["errors"]

    return strip(payload["config"][0]["parsed"])


def strip(parsed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    plain = []
    for item in parsed:
        # It leaves backslashes in pairs, where nginx makes one of two; test_nginx_quoting asks nginx.
        args = [argument.replace("\\\\", "\\") for argument in item["args"]]
        entry = {"directive": item["directive"], "args": args}
        if "block" in item:
            entry["block"] = strip(item["block"])
        plain.append(entry)
    return plain


@given(st.lists(TREES, min_size=1, max_size=3))
def test_what_is_written_is_read_back(trees: list[Directive]) -> None:
    """Whatever a user puts into a path, a name or a header: no text becomes another directive."""
    assert to_plain(trees) == read_back(render(trees))


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("/srv/shop/", "/srv/shop/"),
        ("$host:$server_port", "$host:$server_port"),
        ("", '""'),
        ("with space", '"with space"'),
        ("a;b", '"a;b"'),
        ("{", '"{"'),
        ("#1", '"#1"'),
        ("it's", '"it\'s"'),
        ('say "so"', '"say \\"so\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("\\n", '"\\\\n"'),
        ("~^[a-z]{8}$", '"~^[a-z]{8}$"'),
        ("Käse", '"Käse"'),
    ],
)
def test_only_what_needs_quotes_gets_them(argument: str, text: str) -> None:
    """A path or a variable stands as people write it."""
    assert text == quote(argument)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("two\nlines", "control character or a line end"),
        ("\x00", "control character"),
        ("\x7f", "control character"),
        ("\udcff", "no valid text"),
        ("x" * 4001, "has 4001 bytes; nginx takes 4000 at most"),
    ],
)
def test_what_no_configuration_can_hold_is_refused(text: str, says: str) -> None:
    """In an argument, in a name within a map, in a comment, in the head."""
    for write in (
        lambda: quote(text),
        lambda: render([Directive(text)]),
        lambda: render([Directive("a", comment=text)]),
        lambda: render([Directive("a", (), (), comment=text)]),
        lambda: render([], [text]),
    ):
        with pytest.raises(RefusedError, match=says):
            write()


def test_a_dollar_is_refused_where_it_would_be_a_variable() -> None:
    """Nothing escapes it, so it is said and not guessed."""
    assert "/srv/a" == literal("/srv/a", "the directory")
    with pytest.raises(RefusedError, match=r"the directory '/srv/\$a' has a \$"):
        literal("/srv/$a", "the directory")


def test_comments_stand_at_the_end_of_a_line_or_above_it() -> None:
    """Above, if the line would be too long, or if a block begins."""
    text = render(
        [
            Directive("a", ("1",), comment="why"),
            Directive("b", ("2",), comment="w " * 50 + "end"),
            Directive("c", (), (Directive("d"),), comment="block"),
            Directive("e", (), ()),
        ],
        ["Head."],
    )

    assert text.splitlines() == [
        "# Head.",
        "",
        "a 1;  # why",
        "# " + ("w " * 49).strip(),
        "# w end",
        "b 2;",
        "",
        "# block",
        "c {",
        "    d;",
        "}",
        "",
        "e {}",
    ]


def test_the_tree_is_json_too() -> None:
    """Directives, arguments, blocks and comments, for machines."""
    tree = [Directive("a", ("1",), (Directive("b"),), comment="why")]

    assert to_plain(tree) == json.loads(json.dumps(to_plain(tree)))
    assert to_plain(tree) == [
        {
            "directive": "a",
            "args": ["1"],
            "block": [{"directive": "b", "args": []}],
            "comment": "why",
        }
    ]
