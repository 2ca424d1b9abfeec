"""The module that FORK_BUG names, and how what it returns gets to the test."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

DIRECTORY = Path(os.environ["FORK_BUG_DIRECTORY"])
CHILDREN = int(os.environ["FORK_BUG_CHILDREN"])
bug = importlib.import_module(f"fork_bugs.{os.environ['FORK_BUG']}")


def act(who: str, function: Callable[..., Any], *arguments: Any) -> None:
    """Write down what a function returns or raises, for one of the processes."""
    try:
        seen = {"value": function(*arguments)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the test judges it
        seen = {"error": f"{type(error).__name__}: {error}"}
    path = DIRECTORY / f"{who}.json"
    path.with_suffix(".new").write_text(json.dumps(seen))
    path.with_suffix(".new").rename(path)
