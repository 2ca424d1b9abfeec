"""What a reload can take over from changed settings, and what only a restart can. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tornado_multi.settings.model import Settings

FIXED_GROUPS = {"control": None, "environment": None, "listen": ("bind", "backlog")}
"""Options that belong to the supervisor for its whole life: None = the whole group."""


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
        fixed = names or [item.name for item in dataclasses.fields(old_group)]
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


def _note(name: str, before: object, after: object) -> str:
    return (
        f"{name} has changed from {_text(before)} to {_text(after)}; that takes a restart, the old "
        "value holds."
    )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
