"""The documented examples, as whole files. ``make docs`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.nginx_examples import EXAMPLES, example

from tornado_multi.deploy.nginx.generate import configuration

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = ("1.22.1", "1.31.0")
CASES = [
    *((name, version, "all") for name in EXAMPLES for version in VERSIONS),
    *(("everything", "1.22.1", part) for part in ("upstream", "server")),
]


@pytest.mark.parametrize(("name", "version", "part"), CASES)
def test_an_example_is_written_as_it_was(name: str, version: str, part: Any) -> None:
    """A change of the output is seen line by line in review."""
    text = configuration(example(name, version), part).text()
    suffix = "" if part == "all" else f"-{part}"
    file = GOLDEN / f"{name}-{version}{suffix}.conf"
    if os.environ.get("WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == text


def test_no_example_is_left_over() -> None:
    """Each golden file belongs to a case."""
    names = {
        f"{name}-{version}{'' if part == 'all' else f'-{part}'}.conf"
        for name, version, part in CASES
    }

    assert names == {file.name for file in GOLDEN.iterdir()}
