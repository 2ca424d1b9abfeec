"""What a reload can take over from changed settings, what only a restart can, and what scripts don't use.

Pure.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tornado_multi.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FIXED_GROUPS = {
    "control": None,
    "environment": None,
    "listen": ("bind", "backlog"),
    "instances": ("first_port", "unix_dir", "host"),
    "logging": ("log_dir", "log_file", "log_format"),
}
"""Options that belong to the supervisor for its whole life: None = the whole group."""

NOT_FOR_SCRIPTS = {
    "listen": ("bind",),
    "instances": None,
    "workers": ("workers", "loop", "boot", "health_path"),
    "environment": ("chdir",),
    "tls": None,
    "proxy": None,
    "http": ("max_body_size_bytes", "body_timeout_s", "decompress"),
}
"""Options of what a script does by itself: directory, addresses, number of workers, loop, servers."""


def unused_by_scripts(settings: Settings) -> list[str]:
    """Return one sentence per option that was given and that script mode does not use."""
    given = dict(_options_of(settings, NOT_FOR_SCRIPTS))
    return [
        f"{name}={_text(given[name])} is not used: that is decided by the script itself."
        for name, default in _options_of(Settings(app=""), NOT_FOR_SCRIPTS)
        if given[name] != default
    ]


def take_over(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """Return the settings for the next generation, and one sentence per change that must wait.

    The number of workers is the caller's affair: scale may have changed it since.
    """
    kept: dict[str, Any] = {}
    notes = []
    if new.app != old.app:
        notes.append(_note("app", old.app, new.app))
        kept["app"] = old.app
    for group, names in FIXED_GROUPS.items():
        old_group, new_group = getattr(old, group), getattr(new, group)
        fixed = _names(old_group, names)
        changes = {}
        for name in fixed:
            before, after = getattr(old_group, name), getattr(new_group, name)
            if before != after:
                notes.append(_note(name, before, after))
                changes[name] = before
        kept[group] = dataclasses.replace(new_group, **changes)
    before, after = old.tls.tls_certificate, new.tls.tls_certificate
    if (before is None) != (after is None):  # its listeners' addresses say http or https
        notes.append(_note("tls_certificate", before, after))
        kept["tls"] = old.tls
    return dataclasses.replace(new, **kept), notes


def _options_of(
    settings: Settings, groups: Mapping[str, Sequence[str] | None]
) -> Iterator[tuple[str, object]]:
    for group, names in groups.items():
        options = getattr(settings, group)
        for name in _names(options, names):
            yield name, getattr(options, name)


def _names(group: Any, names: Sequence[str] | None) -> Sequence[str]:
    return names or [item.name for item in dataclasses.fields(group)]


def _note(name: str, before: object, after: object) -> str:
    return (
        f"{name} has changed from {_text(before)} to {_text(after)}; that takes a restart, the old "
        "value holds."
    )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
