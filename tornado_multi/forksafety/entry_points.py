"""Stand-ins for calls into C that make connections without any audit event: psycopg's connect, ...

A library gets its stand-in when the app imports it, and not otherwise; they are taken away in the
workers. The finder does no finding of its own: it asks the others and wraps the loader.
Runs in: zygote.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

CALLS: dict[str, tuple[str, ...]] = {
    "psycopg": ("connect", "Connection.connect"),
    "psycopg2": ("connect",),
    "MySQLdb": ("connect",),
    "grpc": ("insecure_channel", "secure_channel"),
    "uvloop": ("new_event_loop",),
    "numpy.random": ("default_rng",),
}
"""module -> functions whose result is noted with the line that called"""


class EntryPoints(importlib.abc.MetaPathFinder):
    """Finds nothing itself; sees to it that the modules of ``CALLS`` get their stand-ins."""

    def __init__(self, note: Callable[[object], None]) -> None:
        self._note = note
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def install(self) -> None:
        """Watch imports; modules that are there already get their stand-ins now."""
        for name in CALLS:
            if name in sys.modules:
                self.equip(sys.modules[name])
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Put back what was replaced."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for owner, name, original, stand_in in self._replaced:
            if owner.__dict__.get(name) is stand_in:
                setattr(owner, name, original)
        self._replaced.clear()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec that others have found, its loader wrapped."""
        if fullname not in CALLS:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: importlib.machinery.ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    self._follow(spec.loader)
                return spec
        return None

    def _follow(self, loader: Any) -> None:
        """Equip the module when this loader has run it; a loader may serve others too (zip files)."""
        run = loader.exec_module

        @functools.wraps(run)
        def exec_module(module: ModuleType) -> None:
            run(module)
            if module.__name__ in CALLS:
                self.equip(module)

        loader.exec_module = exec_module

    def equip(self, module: ModuleType) -> None:
        """Replace the module's calls."""
        for path in CALLS[module.__name__]:
            owner: Any = module
            *parents, name = path.split(".")
            for parent in parents:
                owner = getattr(owner, parent, None)
            original = getattr(owner, "__dict__", {}).get(name)
            if original is None or isinstance(original, type):
                continue  # a class stays a class: isinstance, subclasses
            stand_in = self._stand_in(original)
            setattr(owner, name, stand_in)
            self._replaced.append((owner, name, original, stand_in))

    def _stand_in(self, original: Any) -> Any:
        is_class_method = isinstance(original, classmethod)
        function = original.__func__ if is_class_method else original

        @functools.wraps(function)
        def call(*values: Any, **named: Any) -> Any:
            made = function(*values, **named)
            self._note(made)
            return made

        return classmethod(call) if is_class_method else call
