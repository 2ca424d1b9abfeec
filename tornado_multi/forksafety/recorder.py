"""Notes which line of the app makes what a fork would share, from before the app's import on.

Two sources: audit events of the interpreter (files, sockets, databases, memory maps), and stand-ins
for the calls that have none (pipes, epolls, threads, loops). An audit hook can't be removed, so it
is switched off in the workers; the stand-ins are taken away there. Nothing is on a data path: no
send, no receive, no read raises an event that is listened to.

Measured: about 2 microseconds per event that is recorded, 0.2 per event that is not.
Runs in: zygote, main thread.
"""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import functools
import logging
import os
import random
import select
import selectors
import signal
import subprocess
import sys
import threading
import weakref
from asyncio import base_events
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety import suppression
from tornado_multi.forksafety.descriptors import STREAMS
from tornado_multi.forksafety.entry_points import EntryPoints
from tornado_multi.forksafety.sites import OURS, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tornado_multi.forksafety.findings import Site

WRITES = os.O_WRONLY | os.O_RDWR
FD_MAKERS = (
    *("pipe", "pipe2", "dup", "eventfd", "memfd_create", "openpty", "pidfd_open"),
    "timerfd_create",
)
"""Functions of ``os`` that return descriptors and raise no audit event."""
MOST_PATHS = 10_000
"""Lines of files that were opened, which an app may do many times at import."""
Identity = tuple[int, int]
"""(st_dev, st_ino): tells whether a descriptor's number was used again for something else."""


def no_resource() -> str | None:
    """Say that no per-process resource is being made."""
    return None


class Recorder:
    """What was made, by which line."""

    def __init__(
        self, app_package: str = "", creating: Callable[[], str | None] = no_resource
    ) -> None:
        """Take what tells the app's lines from others.

        Args: app_package: its top-level package. creating: names the per-process resource whose
            factory is running.
        """
        self.places = Places(app_package)
        self.paths: dict[str, Site] = {}
        """absolute path -> the line that opened it for writing, or made it as a temporary one"""
        self.read_paths: dict[str, Site] = {}
        self.sqlite_paths: set[str] = set()
        self.fds: dict[int, tuple[Identity, Site]] = {}
        self.traced_fds: set[int] = set()
        """Those whose line is known by a trace only: C code has opened them."""
        self.pids: dict[int, Site] = {}
        self.native_threads: dict[int, tuple[str, Site | None]] = {}
        """thread id -> the module whose import had made it, and the line"""
        self.maps: dict[int, Site] = {}
        """length in bytes -> the line that mapped so much"""
        self.wakeup: Site | None = None
        self._seeded: dict[int, weakref.ref[random.Random]] = {}
        self.baseline: dict[int, Identity] = {}
        """Descriptors that came from whoever has started this process."""
        self.allowed_fds: dict[int, tuple[Identity, str]] = {}
        self.allowed_threads: dict[int, str] = {}
        self._objects: dict[int, tuple[weakref.ref[Any] | None, Site]] = {}
        self._creating = creating
        self._is_on = False
        self._stand_ins: list[tuple[Any, str, object, object]] = []
        self._thread_count = 0
        self._events: dict[str, Callable[..., None]] = {
            "socket.__new__": lambda sock, *_: self.note(sock),
            "open": self._opened,
            "sqlite3.connect": self._sqlite_opened,
            "sqlite3.connect/handle": self.note,
            "tempfile.mkdtemp": self._path_made,
            "tempfile.mkstemp": self._path_made,
            "mmap.__new__": self._mapped,
            "import": self._importing,
        }
        self._entry_points = EntryPoints(self.note)

    # --- on and off -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to record.

        What is open and lacks the close-on-exec flag by now came through exec: Python sets the flag
        on all that it opens.
        """
        for fd in _open_fds():
            identity = identity_of(fd)
            if identity is not None and (fd < STREAMS or os.get_inheritable(fd)):
                self.baseline[fd] = identity
        self._thread_count = _count_threads()
        sys.addaudithook(self._heard)
        self._is_on = True
        for name in FD_MAKERS:
            if hasattr(os, name):
                self._replace(os, name, self._maker_of_fds)
        epoll = _stand_in_class(select.epoll, self._note_epoll)
        self._replace(selectors.EpollSelector, "_selector_cls", lambda _: epoll)
        self._replace(select, "epoll", lambda _: epoll)
        self._replace(threading.Thread, "start", self._noting_self)
        self._replace(_thread, "start_new_thread", self._thread_starter)
        self._replace(base_events.BaseEventLoop, "__init__", self._noting_self)
        self._replace(logging.FileHandler, "__init__", self._noting_self)
        self._replace(subprocess.Popen, "__init__", self._noting_process)
        self._replace(random.Random, "seed", self._noting_seed)
        self._replace(signal, "set_wakeup_fd", self._noting_wakeup)
        self._entry_points.install()
        suppression.watch_blocks(self._allowing)

    def stop(self) -> None:
        """Stop recording, and take the stand-ins away. Runs in: worker, or after a check."""
        self._is_on = False
        for owner, name, original, stand_in in self._stand_ins:
            if owner.__dict__.get(name) is stand_in:
                setattr(owner, name, original)
        self._stand_ins.clear()
        self._entry_points.remove()
        suppression.forget_watchers()

    def forget(self) -> None:
        """Let go of what was noted: the audit is over."""
        for noted in (self.paths, self.read_paths, self.fds, self.pids, self.maps):
            noted.clear()
        self._objects.clear()
        self._seeded.clear()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Don't record what the audit itself does."""
        was_on, self._is_on = self._is_on, False
        try:
            yield
        finally:
            self._is_on = was_on

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = owner.__dict__[name]
        stand_in = make(original)
        setattr(owner, name, stand_in)
        self._stand_ins.append((owner, name, original, stand_in))

    # --- questions --------------------------------------------------------------------------------

    def site_of(self, thing: object) -> Site | None:
        """Return the line that made an object."""
        reference, site = self._objects.get(id(thing), (None, None))
        if reference is not None and reference() is not thing:
            return None
        return site

    def site_of_fd(self, fd: int, identity: Identity) -> Site | None:
        """Return the line that made a descriptor, if it is still the same one."""
        noted = self.fds.get(fd)
        return noted[1] if noted is not None and noted[0] == identity else None

    def is_seeded(self, generator: random.Random) -> bool:
        """Tell whether the app has given a seed to a generator."""
        reference = self._seeded.get(id(generator))
        return reference is not None and reference() is generator

    def owners(self) -> Iterator[tuple[object, Site]]:
        """Return the objects that are still there."""
        for reference, site in list(self._objects.values()):
            thing = None if reference is None else reference()
            if thing is not None:
                yield thing, site

    # --- notes ------------------------------------------------------------------------------------

    def site(self) -> Site | None:
        """Return the line of the app that is running, with what holds for it."""
        try:
            site = self.places.find(sys._getframe(1))  # noqa: SLF001 - the way without a copy
        except OSError:  # a relative file name, and the current directory was removed
            return None
        reason, resource = suppression.current_reason(), self._creating()
        if site is not None and (reason or resource):
            return dataclasses.replace(site, allowed=reason, resource=resource)
        return site

    def note(self, thing: object) -> None:
        """Remember which line has made an object."""
        site = self.site() if self._is_on else None
        if site is not None:
            try:
                reference = weakref.ref(thing)
            except TypeError:  # told apart by its class when it is looked for
                reference = None
            self._objects[id(thing)] = (reference, site)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._is_on:
            act = self._events.get(event)
            if act is not None:
                with contextlib.suppress(Exception):  # it would fail the app's own call
                    act(*arguments)

    def _opened(self, path: object, _mode: str | None, flags: int) -> None:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str):
            return
        if flags & WRITES:
            kept = self.paths
        elif path.endswith((".pyc", ".py")) or path.startswith(("/proc/", "/dev/")):
            return
        else:
            kept = self.read_paths
        site = self.site()
        if site is not None and len(kept) < MOST_PATHS:
            kept[os.path.abspath(path)] = site

    def _sqlite_opened(self, database: object) -> None:
        path = os.fsdecode(database) if isinstance(database, (str, bytes, os.PathLike)) else ""
        if path.startswith("file:"):
            path = path.removeprefix("file:").partition("?")[0]
        self.sqlite_paths.add(os.path.abspath(path))

    def _path_made(self, path: object) -> None:
        site = self.site()
        if isinstance(path, str) and site is not None:
            self.paths[os.path.abspath(path)] = site

    def _mapped(self, _fd: int, length: int, *_: object) -> None:
        site = self.site()
        if site is not None:
            self.maps[length] = site

    def _importing(self, *_: object) -> None:
        """See which library's import has started threads beneath Python (numpy's does).

        Those that are seen while the app itself imports something came earlier, of another line.
        """
        count = _count_threads()
        if count != self._thread_count:
            self._thread_count = count
            known = {thread.native_id for thread in threading.enumerate()}
            library = self._innermost_library()
            site = self.site() if library else None
            for name in os.listdir("/proc/self/task"):
                if int(name) not in known:
                    self.native_threads.setdefault(int(name), (library, site))

    def _innermost_library(self) -> str:
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - as above
        while frame is not None:
            file = frame.f_code.co_filename
            if self.places.kind(file) == "library" and not file.startswith(OURS):
                return str(frame.f_globals.get("__name__", "")).partition(".")[0]
            frame = frame.f_back
        return ""

    # --- stand-ins --------------------------------------------------------------------------------

    def _maker_of_fds(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def make(*values: Any, **named: Any) -> Any:
            made = original(*values, **named)
            if self._is_on:
                for fd in made if isinstance(made, tuple) else (made,):
                    self._note_fd(fd)
            return made

        return make

    def _note_fd(self, fd: int) -> None:
        site = self.site()
        identity = identity_of(fd)
        if site is not None and identity is not None:
            self.fds[fd] = (identity, site)

    def _note_epoll(self, made: select.epoll) -> None:
        if self._is_on:
            self._note_fd(made.fileno())

    def _noting_self(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(itself: object, *values: Any, **named: Any) -> Any:
            if self._is_on:
                self.note(itself)
            return original(itself, *values, **named)

        return call

    def _noting_process(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(itself: Any, *values: Any, **named: Any) -> Any:
            result = original(itself, *values, **named)
            site = self.site() if self._is_on else None
            if site is not None:
                self.pids[itself.pid] = site
            return result

        return call

    def _noting_seed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def seed(itself: Any, a: Any = None, *values: Any, **named: Any) -> Any:
            if self._is_on:
                self.note(itself)
                if a is not None:
                    self._seeded[id(itself)] = weakref.ref(itself)  # not all can be hashed
            return original(itself, a, *values, **named)

        return seed

    def _noting_wakeup(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*values: Any, **named: Any) -> Any:
            if self._is_on:
                self.wakeup = self.site()
            return original(*values, **named)

        return call

    def _thread_starter(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def start(*values: Any, **named: Any) -> Any:
            site = self.site() if self._is_on else None
            before = _ids_or_none(_thread_ids) if site is not None else None
            ident = original(*values, **named)
            if before is not None and site is not None:
                for number in (_ids_or_none(_thread_ids) or before) - before:
                    self.native_threads[number] = ("", site)
            return ident

        return start

    @contextlib.contextmanager
    def _allowing(self, reason: str) -> Iterator[None]:
        """Note what a ``fork_safe`` block leaves behind, also what is made in C."""
        fds, threads = _ids_or_none(_open_fds), _ids_or_none(_thread_ids)
        try:
            yield
        finally:
            if fds is not None:
                for fd in (_ids_or_none(_open_fds) or fds) - fds:
                    identity = identity_of(fd)
                    if identity is not None:
                        self.allowed_fds[fd] = (identity, reason)
            if threads is not None:
                for number in (_ids_or_none(_thread_ids) or threads) - threads:
                    self.allowed_threads[number] = reason


def identity_of(fd: int) -> Identity | None:
    """Return what tells a descriptor from a later one of the same number; None: it is closed."""
    try:
        seen = os.fstat(fd)
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def _count_threads() -> int:
    return os.stat("/proc/self/task").st_nlink


def _thread_ids() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def _open_fds() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd")}


def _ids_or_none(look: Callable[[], set[int]]) -> set[int] | None:
    """Return what a look at /proc finds; None: the app has used up all descriptors."""
    try:
        return look()
    except OSError:
        return None


def _stand_in_class(kind: Any, note: Callable[[Any], None]) -> Any:
    """Return a class that makes objects of *kind* and notes them; isinstance sees no difference."""

    class Meta(type):
        def __instancecheck__(cls, thing: object) -> bool:
            return isinstance(thing, kind)

        def __call__(cls, *values: Any, **named: Any) -> Any:
            made = kind(*values, **named)
            note(made)
            return made

        def __getattr__(cls, name: str) -> Any:
            return getattr(kind, name)

    return Meta(kind.__name__, (), {"__doc__": kind.__doc__, "__module__": kind.__module__})
