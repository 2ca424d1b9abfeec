"""Options of ``serve`` as a test gives them, to a command line. Pure.

A test writes ``workers=2, http={"idle_timeout_s": 5}``; names are those of the settings classes.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from tornado_multi.settings.bind import UnixBind, parse_bind
from tornado_multi.settings.model import TABLES, option_keys
from tornado_multi.testing.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_FILE = "/dev/null"
"""Tests don't depend on a configuration file that happens to lie where they run."""
DEFAULTS: dict[str, Any] = {"bind": "127.0.0.1:0", "workers": 2, "config": NO_FILE}
FOR_THE_PROCESS = ("app", "app_arguments", "environment")
"""What a test may say beside the options."""


def flatten(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with those of a table under their full key, ``http.idle_timeout_s``.

    Raises: OptionError: ``serve`` has no such option.
    """
    flat: dict[str, Any] = {}
    for name, value in given.items():
        if name in TABLES:
            if not isinstance(value, dict):
                raise OptionError(f'{name} takes a dict, as in {name}={{"KEY": VALUE}}.')
            flat |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    known = [*option_keys(without=["instances"]), *FOR_THE_PROCESS, "config"]
    for key in flat:
        if key not in known:
            raise OptionError(f"serve has no option {key}.{_nearest(key, known)}")
    return flat


def _nearest(key: str, known: Sequence[str]) -> str:
    # The right name without its table comes first: idle_timeout_s is http.idle_timeout_s.
    found = [other for other in known if other.rpartition(".")[2] == key.rpartition(".")[2]]
    found += difflib.get_close_matches(key, [*known, *TABLES], n=1, cutoff=0.5)
    if not found:
        return " Options are named as in tornado_multi.toml."
    table, dot, name = found[0].rpartition(".")
    wanted = f'{table}={{"{name}": ...}}' if dot else found[0]
    return f" Did you mean {wanted}?"


def to_arguments(app: str, flat: Mapping[str, Any]) -> list[str]:
    """Return the command line of ``serve`` for flat options; None leaves an option at its default.

    Lists and tuples are options that are repeated.
    """
    arguments = [app]
    for key, value in flat.items():
        if key in FOR_THE_PROCESS or value is None:
            continue
        for item in value if isinstance(value, (list, tuple)) else (value,):
            text = str(item).lower() if isinstance(item, bool) else str(item)
            arguments.append(f"--{key.replace('_', '-')}={text}")
    if flat.get("app_arguments") is not None:
        arguments += ["--", *flat["app_arguments"]]
    return arguments


def unix_paths(bind: str | Sequence[str]) -> list[str]:
    """Return the paths of the unix sockets among addresses; what can't be read is left to serve."""
    found = []
    for text in (bind,) if isinstance(bind, str) else bind:
        try:
            parsed = parse_bind(text)
        except ValueError:
            continue
        if isinstance(parsed, UnixBind):
            found.append(parsed.path)
    return found
