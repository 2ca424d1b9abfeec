"""The audit: what the workers would inherit from this process, as findings.

Descriptors, objects and threads are looked at once, before the first fork, and joined with the
lines that the recorder has noted. What several looks see (a pool, its socket, the socket's epoll)
is one finding: whoever comes first claims the descriptor. Runs in: zygote; ``check``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import logging.handlers
import os
import random
import signal
import stat
import sys
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety import descriptors as fds
from tornado_multi.forksafety import heap
from tornado_multi.forksafety.findings import (
    Finding,
    Report,
    Severity,
    Site,
    in_order,
    make_finding,
)
from tornado_multi.forksafety.libraries import Held, held_by_libraries
from tornado_multi.forksafety.library_threads import Group, group, module_of
from tornado_multi.forksafety.recorder import identity_of
from tornado_multi.forksafety.suppression import Allowance, apply_allowances
from tornado_multi.forksafety.threads import (
    SURVIVORS,
    frame_of,
    native_threads,
    python_threads,
)
from tornado_multi.process.tracebacks import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from tornado_multi.forksafety.recorder import Recorder

ROTATING = (logging.handlers.BaseRotatingHandler,)
HTTP_CLIENTS = ("tornado/httpclient.py", "tornado/curl_httpclient.py")
HTTP_CLIENT_HARM = (
    "The client stays tied to this loop, and no worker runs it: a fetch that waits for a free place "
    "has no time limit, and with curl no fetch ever ends."
)
HTTP_CLIENT_MEND = (
    "make it in a handler or in the factory of the app: AsyncHTTPClient() is cheap there, and the "
    "same client in the whole process."
)


@dataclass
class Heritage:
    """What the audit has seen that has to be dealt with at each fork."""

    seen: dict[int, tuple[int, int]] = field(default_factory=dict)
    """descriptor -> identity: what a later look need not judge again"""
    sockets: dict[int, DeadEnd] = field(default_factory=dict)
    """descriptor -> how it is to end in a child"""
    epolls: set[int] = field(default_factory=set)
    held: list[Held] = field(default_factory=list)
    locks: list[Any] = field(default_factory=list)
    """Locks that another thread may hold at the fork."""
    randoms: list[Any] = field(default_factory=list)
    writers: list[weakref.ref[Any]] = field(default_factory=list)
    """Files that may have something in their buffer."""
    unconnected: set[int] = field(default_factory=set)
    """Sockets that somebody may yet connect."""


@dataclass(frozen=True)
class DeadEnd:
    """A connection that is cut off in the child."""

    identity: tuple[int, int]
    what: str
    place: str
    """``file:line`` that has made it, or an empty text."""
    farewell: Any = None
    """``Held.farewell``"""
    owner: weakref.ref[Any] | None = None
    """The object that has made it, if it is known."""


class Audit:
    """One audit of this process."""

    def __init__(
        self,
        recorder: Recorder,
        own_fds: Collection[int] = (),
        allowances: Sequence[Allowance] = (),
    ) -> None:
        """Take what it joins.

        Args: own_fds: descriptors of the toolkit itself. allowances: what the settings allow.
        """
        self._recorder = recorder
        self._own = set(own_fds)
        self._allowances = allowances
        self._open: dict[int, fds.Descriptor] = {}
        self._claimed: set[int] = set()
        self._findings: list[Finding] = []
        self._said_by: dict[int, int] = {}
        """What the quarantine has to do with -> index of the finding: id of a Held, -descriptor."""
        self.heritage = Heritage()

    def run(self) -> Report:
        """Look at everything once."""
        begun_s = time.perf_counter()
        with self._recorder.paused():
            self._open = {
                fd: item
                for fd, item in fds.survey().items()
                if fd not in self._own and self._recorder.baseline.get(fd) != item.identity
            }
            objects = heap.collect()
            for name, look in self._looks(objects).items():
                with self._in_spite_of(name):
                    look()
            self._look_at_descriptors()  # last: what nobody has claimed
            with self._in_spite_of("buffers of files"):
                self._remember_writers(objects)
        judged, unused = apply_allowances(self._findings, self._allowances)
        notes = tuple(
            f"fork_safety_allow: nothing matches {item.pattern!r} any more; remove it."
            for item in unused
        )
        self._let_go_of_allowed(judged)
        self.heritage.seen |= self._recorder.baseline
        for fd in self._own:
            identity = identity_of(fd)
            if identity is not None:
                self.heritage.seen[fd] = identity
        return Report(in_order(judged), time.perf_counter() - begun_s, notes)

    def _looks(self, objects: dict[str, list[Any]]) -> dict[str, Callable[[], None]]:
        """Return the looks in their order, with the name of what each looks at."""
        return {
            "event loops": lambda: self._look_at_loops(objects),
            "log files": self._look_at_log_files,
            "connections of libraries": lambda: self._look_at_libraries(objects),
            "SQLite handles": lambda: self._look_at_sqlite(objects),
            "TLS connections": lambda: self._look_at_tls(objects),
            "threads": lambda: self._look_at_threads(objects),
            "child processes": lambda: self._look_at_processes(objects),
            "temporary directories": self._look_at_finalizers,
            "random numbers": lambda: self._look_at_random(objects),
            "the signal wakeup descriptor": self._look_at_wakeup,
            "shared memory": self._look_at_maps,
        }

    @contextlib.contextmanager
    def _in_spite_of(self, name: str) -> Iterator[None]:
        """Go on when an object of the app raises what it likes: the rest is to be audited too.

        What the block has claimed is given back, so that its descriptors are judged as such.
        """
        claimed = set(self._claimed)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - as the docstring says
            self._claimed = claimed
            self._add("not-audited", f"{name} can't be looked at: {first_line(error)}", None)

    # --- saying -----------------------------------------------------------------------------------

    def _add(self, kind: str, what: str, site: Site | None, **more: Any) -> None:
        self._findings.append(make_finding(kind, what, site, **more))

    def _claim(self, numbers: Collection[int]) -> None:
        self._claimed.update(numbers)

    def _site_of_fd(self, fd: int) -> Site | None:
        """Return the line that made a descriptor, by object, number or path."""
        item = self._open.get(fd)
        if item is None:
            return None
        recorder = self._recorder
        site = self._owner_of_fd(fd)[1] or recorder.site_of_fd(fd, item.identity)
        if site is None:
            path = item.target.removesuffix(" (deleted)")
            site = recorder.paths.get(path) or recorder.read_paths.get(path)
        allowed = recorder.allowed_fds.get(fd)
        if allowed is not None and allowed[0] == item.identity:
            site = dataclasses.replace(site or Site("", 0), allowed=allowed[1])
        return site

    def _owner_of_fd(self, fd: int) -> tuple[Any, Site | None]:
        """Return the object that has made a descriptor, and its line."""
        if not hasattr(self, "_by_fd"):
            self._by_fd: dict[int, tuple[Any, Site]] = {}
            for thing, site in self._recorder.owners():
                with contextlib.suppress(Exception):  # it has none, is closed, or of any library
                    self._by_fd[thing.fileno()] = (thing, site)  # type: ignore[attr-defined]  # as said
        return self._by_fd.get(fd, (None, None))

    def _cut_off(self, fd: int, what: str, site: Site | None, farewell: Any = None) -> None:
        """Have a connection made a dead end in children, unless it may be shared."""
        item = self._open.get(fd)
        if item is None or (site is not None and site.allowed is not None):
            return
        place = f"{site.file}:{site.line}" if site is not None else ""
        owner = self._owner_of_fd(fd)[0]
        try:
            reference = None if owner is None else weakref.ref(owner)
        except TypeError:
            reference = None
        self.heritage.sockets[fd] = DeadEnd(item.identity, what, place, farewell, reference)
        self._said_by[-fd] = len(self._findings) - 1

    def _replace_epoll(self, fd: int, site: Site | None) -> None:
        """Have an epoll replaced by a fresh one in children, unless it may be shared."""
        if site is None or site.allowed is None:
            self.heritage.epolls.add(fd)
            self._said_by[-fd] = len(self._findings) - 1

    # --- loops ------------------------------------------------------------------------------------

    def _look_at_loops(self, objects: dict[str, list[Any]]) -> None:
        for loop in objects.get("loop", []):
            with self._in_spite_of(_class_of(loop)):
                if not loop.is_closed():
                    self._say_loop(loop, objects)

    def _say_loop(self, loop: Any, objects: dict[str, list[Any]]) -> None:
        own = self._fds_of_loop(loop)
        selector = getattr(loop, "_selector", None)
        watched = 0 if selector is None else len(selector.get_map() or ()) - 1
        watches = f", watching {watched} descriptors" if watched > 0 else ""
        site = self._recorder.site_of(loop)
        severity = Severity.CRITICAL if loop.is_running() or watched > 0 else Severity.HIGH
        name = type(loop).__module__.partition(".")[0]
        words = {}
        what = f"event loop of {name}{watches}"
        if site is not None and (site.via or "").startswith(HTTP_CLIENTS):
            what += ", made by Tornado's HTTP client"
            words = {"harm": HTTP_CLIENT_HARM, "mend": HTTP_CLIENT_MEND}
            if "tornado.curl" in objects:
                own |= {fd for fd in self._open if self._is_eventfd_of_c(fd)}
        self._add("event-loop", what, site, severity=severity, **words)
        self._claim(own)
        for fd in own:
            if fd in self._open and self._open[fd].is_socket:
                self._cut_off(fd, "event loop's self-pipe", site)
            elif fd in self._open and self._open[fd].anonymous == "eventpoll":
                self._replace_epoll(fd, site)

    def _is_eventfd_of_c(self, fd: int) -> bool:
        return self._open[fd].anonymous == "eventfd" and self._site_of_fd(fd) is None

    def _fds_of_loop(self, loop: Any) -> set[int]:
        numbers = set()
        for name in ("_selector", "_ssock", "_csock"):
            part = getattr(loop, name, None)
            if part is not None:
                numbers.add(part.fileno())
        if not numbers:  # of C: it has made what nobody else has noted
            for fd, item in self._open.items():
                is_of_loop = item.anonymous is not None or stat.S_ISFIFO(item.mode)
                if is_of_loop and self._recorder.site_of_fd(fd, item.identity) is None:
                    numbers.add(fd)
                    numbers.update(
                        other
                        for other in fds.watched_by(fd)
                        if other in self._open and self._site_of_fd(other) is None
                    )
        return numbers

    # --- logs -------------------------------------------------------------------------------------

    def _look_at_log_files(self) -> None:
        for reference in list(logging._handlerList):  # type: ignore[attr-defined]  # noqa: SLF001
            handler = reference()
            with self._in_spite_of(_class_of(handler)):
                if isinstance(handler, logging.FileHandler):
                    self._say_log_file(handler)

    def _say_log_file(self, handler: logging.FileHandler) -> None:
        path = os.path.abspath(handler.baseFilename)
        site = self._recorder.site_of(handler) or self._recorder.paths.get(path)
        stream: Any = getattr(handler, "stream", None)
        fd = None
        with contextlib.suppress(AttributeError, OSError, ValueError):  # no file, or none yet
            fd = stream.fileno()
        if fd is not None:
            self._claim({fd})
        name = type(handler).__name__
        if isinstance(handler, ROTATING):
            self._add("rotating-log", f"{name} {path}", site)
        elif fd is not None:
            self._add("log-file", f"log file {path}", site)
        elif stream is None and handler.mode.startswith("w"):  # each process will open it
            self._add("truncated-log", f"log file {path}, which each process empties", site)

    # --- libraries --------------------------------------------------------------------------------

    def _look_at_libraries(self, objects: dict[str, list[Any]]) -> None:
        for held in held_by_libraries(objects):
            if held.fds and not set(held.fds) - self._claimed:
                continue
            self._claim(held.fds)
            site = self._recorder.site_of(held.thing)
            site = next((found for fd in held.fds if (found := self._site_of_fd(fd))), site)
            self._add(
                held.kind,
                held.what,
                site,
                library=held.library,
                severity=held.severity,
                harm=held.harm,
                mend=held.advice,
            )
            if site is not None and site.allowed is not None:
                continue
            self.heritage.held.append(held)
            self._said_by[id(held)] = len(self._findings) - 1
            if held.kind != "sqlite":
                for fd in held.fds:
                    self._cut_off(fd, held.what, site, held.farewell)

    def _look_at_sqlite(self, objects: dict[str, list[Any]]) -> None:
        for connection in objects.get("sqlite", []):
            path = _sqlite_path(connection)
            site = self._recorder.site_of(connection)
            if path:
                of_engine = any(
                    item.kind == "sqlite" and connection in _connections_of(item)
                    for item in self.heritage.held
                )
                if not of_engine:
                    self._add("sqlite", f"SQLite handle {path}", site, library="sqlite3")
        for fd, item in self._open.items():
            plain = item.target.removesuffix(" (deleted)")
            for suffix in ("-wal", "-shm", "-journal"):
                plain = plain.removesuffix(suffix)
            if plain in self._recorder.sqlite_paths:
                self._claim({fd})

    def _look_at_tls(self, objects: dict[str, list[Any]]) -> None:
        for sock in objects.get("tls", []):
            fd = sock.fileno()
            facts = fds.socket_facts(fd) if fd in self._open else None
            if facts is None or fd in self._claimed or facts.peer is None:
                continue
            site = self._site_of_fd(fd)
            what = f"TLS connection {facts.text()}"
            self._claim({fd})
            self._add("tls-socket", what, site)
            self._cut_off(fd, what, site)

    # --- threads ----------------------------------------------------------------------------------

    def _look_at_threads(self, objects: dict[str, list[Any]]) -> None:
        running = python_threads()
        pooled = set()
        for executor in objects.get("executor", []):
            threads = getattr(executor, "_threads", ())  # a subclass may have made none
            own = {item for item in list(threads) if item.is_alive()}
            if own:
                pooled |= own
                site = next((s for item in own if (s := self._recorder.site_of(item))), None)
                count = f"{len(own)} thread{'' if len(own) == 1 else 's'}"
                self._add("executor", f"ThreadPoolExecutor with {count}", site)
        others = [item for item in running if item not in pooled]
        groups = group(others, native_threads(), self._recorder)
        for made in groups:
            with self._in_spite_of(made.what):
                self._say_threads(made, objects)
        if running:
            self._look_at_locks(running, {made.module for made in groups if made.rule})

    def _say_threads(self, made: Group, objects: dict[str, list[Any]]) -> None:
        kind = "native-thread" if made.is_native else "thread"
        rule, survivor = made.rule, SURVIVORS.get(made.module)
        if rule is not None:
            site = made.site or next(
                (s for item in objects.get(made.module, []) if (s := self._recorder.site_of(item))),
                None,
            )
            self._add(
                kind,
                made.what,
                site,
                library=rule.library,
                severity=rule.severity,
                harm=rule.harm,
                mend=rule.mend,
            )
            self._take_what_is_of(made.module, site, in_c=rule.opens_in_c)
        elif survivor is not None and made.is_native:
            self._add(
                kind,
                made.what,
                made.site,
                library=made.module,
                severity=Severity.HANDLED,
                harm=f"{survivor} starts it anew in each process.",
                mend="nothing.",
            )
        else:
            self._add(kind, made.what, made.site, library=made.module or None)

    def _take_what_is_of(self, module: str, site: Site | None, *, in_c: bool) -> None:
        """Count what a library has opened as part of it; workers don't get its connections."""
        for fd, item in self._open.items():
            found = self._site_of_fd(fd)
            is_made_in_c = found is None or fd in self._recorder.traced_fds
            is_inner = in_c and is_made_in_c and (item.anonymous or stat.S_ISFIFO(item.mode))
            if fd in self._claimed or not (is_inner or module_of(found) == module):
                continue
            self._claim({fd})
            facts = fds.socket_facts(fd) if item.is_socket else None
            if facts is not None and facts.has_session:
                self._cut_off(fd, f"connected socket {facts.text()}", found)
            elif item.anonymous == "eventpoll":
                self._replace_epoll(fd, site)

    def _look_at_locks(self, running: list[threading.Thread], said: Collection[str]) -> None:
        """A lock that is held now can only be released by a thread that a child won't have.

        Args: said: modules of libraries whose threads are a finding, so that their locks need none.
        """
        places = {self._recorder.places.find(frame_of(item)) for item in running} - {None}
        place = places.pop() if len(places) == 1 else None
        private = {id(getattr(item, "_tstate_lock", None)) for item in threading.enumerate()}
        for lock, holder in list(heap.locks()):
            if id(lock) in private:
                continue
            self.heritage.locks.append(lock)
            if heap.is_held(lock):
                name = heap.lock_name(lock, holder)
                if name.partition(".")[0] not in {"threading", "_thread", *said}:
                    self._add("held-lock", f"lock {name} is held", place)

    # --- processes, files -------------------------------------------------------------------------

    def _look_at_processes(self, objects: dict[str, list[Any]]) -> None:
        popen = {getattr(item, "pid", None): item for item in objects.get("process", [])}
        for pid in fds.children():
            known = popen.get(pid)
            if known is not None and known.returncode is not None:
                continue
            what = f"child process {pid} ({fds.command_of(pid)})"
            self._add("child-process", what, self._recorder.pids.get(pid))

    def _look_at_finalizers(self) -> None:
        registry = weakref.finalize._registry  # type: ignore[attr-defined]  # noqa: SLF001
        for info in list(registry.values()):
            name = getattr(info.func, "__qualname__", "")
            path = info.args[0] if info.args and isinstance(info.args[0], str) else None
            if name == "TemporaryDirectory._cleanup" and path is not None:
                site = self._recorder.paths.get(os.path.abspath(path))
                self._add("temporary-directory", f"temporary directory {path}", site)

    def _look_at_random(self, objects: dict[str, list[Any]]) -> None:
        names = getattr(sys.modules.get("tempfile"), "_name_sequence", None)
        standard = [random._inst, getattr(names, "_rng", None)]  # noqa: SLF001
        for generator in objects.get("random", []):
            if any(generator is one for one in standard) or isinstance(
                generator, random.SystemRandom
            ):
                continue
            site = self._recorder.site_of(generator)
            if site is None:
                continue  # of the standard library, or older than the app
            if self._recorder.is_seeded(generator):
                self._add("seeded-random", "random.Random with a seed", site)
            elif site.allowed is None:
                self._add("random", "random.Random", site)
                self.heritage.randoms.append(generator)
        for name in ("numpy.random", "numpy.legacy"):
            self.heritage.randoms += objects.get(name, [])
            for generator in objects.get(name, []):
                what = f"{type(generator).__name__} of numpy"
                self._add("random", what, self._recorder.site_of(generator), library="numpy")

    def _look_at_wakeup(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        fd = signal.set_wakeup_fd(-1)
        if fd != -1:
            signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
            self._add("wakeup-fd", f"signal wakeup descriptor {fd}", self._recorder.wakeup)

    def _look_at_maps(self) -> None:
        for length, path in fds.shared_maps():
            if "memfd:tornado_multi" in path:
                continue
            plain = path.removesuffix(" (deleted)")
            if any(plain == f"{known}-shm" for known in self._recorder.sqlite_paths):
                continue
            page = 4096
            site = next(
                (s for size, s in self._recorder.maps.items() if -(-size // page) * page == length),
                None,
            )
            self._add("shared-map", f"shared memory {path or 'without a name'}", site)

    # --- the rest ---------------------------------------------------------------------------------

    def _look_at_descriptors(self) -> None:
        for fd, item in sorted(self._open.items()):
            self.heritage.seen[fd] = item.identity
            # A thread may have closed it since the survey.
            if fd not in self._claimed and identity_of(fd) == item.identity:
                self._say_descriptor(fd, item)

    def _say_descriptor(self, fd: int, item: fds.Descriptor) -> None:
        site = self._site_of_fd(fd)
        if item.is_socket:
            self._say_socket(fd, site)
        elif item.anonymous is not None:
            kind = {"eventpoll": "epoll", "eventfd": "eventfd"}.get(item.anonymous, "descriptor")
            self._add(kind, f"{item.anonymous} descriptor {fd}", site)
            if kind == "epoll":
                self._replace_epoll(fd, site)
        elif stat.S_ISFIFO(item.mode):
            end = "write" if item.is_writable else "read"
            self._add("pipe", f"{end} end of a pipe, descriptor {fd}", site)
        elif stat.S_ISREG(item.mode) and not item.target.startswith(("/proc/", "/memfd:")):
            self._say_file(item, site)

    def _say_socket(self, fd: int, site: Site | None) -> None:
        facts = fds.socket_facts(fd)
        if facts is not None and facts.may_get_session and (site is None or site.allowed is None):
            self.heritage.unconnected.add(fd)
        if facts is None:
            self._add("descriptor", f"socket, descriptor {fd}", site)
        elif facts.has_session:
            state = "connecting" if facts.is_connecting else "connected"
            what = f"{state} socket {facts.text()}"
            self._add("connected-socket", what, site)
            self._cut_off(fd, what, site)
        elif facts.is_listening:
            self._add("listening-socket", f"listening socket {facts.text()}", site)
        elif facts.is_pair:
            self._add("socket-pair", f"one end of a socket pair, descriptor {fd}", site)
        elif not facts.is_stream and not facts.is_unix:
            self._add("udp-socket", f"UDP socket {facts.text()}", site)
        else:
            self._add("datagram-socket", f"socket {facts.text()}".rstrip(), site)

    def _say_file(self, item: fds.Descriptor, site: Site | None) -> None:
        if not item.is_writable:
            by_app = site is not None and site.via is None
            kind = "read-file" if by_app else "file"
            self._add(kind, f"file {item.target}, opened for reading", site)
        elif item.flags & os.O_APPEND:
            self._add("file", f"file {item.target}, opened for appending", site)
        else:
            self._add("written-file", f"file {item.target}, opened for writing", site)

    def _remember_writers(self, objects: dict[str, list[Any]]) -> None:
        for thing in (*objects.get("text", []), *objects.get("buffer", [])):
            if not thing.closed and thing.writable():
                self.heritage.writers.append(weakref.ref(thing))

    def _let_go_of_allowed(self, findings: list[Finding]) -> None:
        """What the settings allow is shared: it is not made harmless."""
        shared = {
            thing for thing, index in self._said_by.items() if findings[index].allowed is not None
        }
        heritage = self.heritage
        heritage.sockets = {fd: end for fd, end in heritage.sockets.items() if -fd not in shared}
        heritage.epolls = {fd for fd in heritage.epolls if -fd not in shared}
        heritage.held = [item for item in heritage.held if id(item) not in shared]


def _class_of(thing: object) -> str:
    return f"an object of {type(thing).__module__}.{type(thing).__qualname__}"


def _sqlite_path(connection: Any) -> str:
    """Return the file of a SQLite handle; nothing: it is in memory, or closed."""
    try:
        rows = connection.execute("PRAGMA database_list").fetchall()
    except Exception as error:  # noqa: BLE001 - of another thread, closed, busy
        return "" if "closed" in str(error) else "(file not known)"
    return next((str(row[2]) for row in rows if row[1] == "main"), "")


def _connections_of(held: Held) -> Iterator[Any]:
    pool = getattr(held.thing, "pool", None)
    queue = getattr(getattr(pool, "_pool", None), "queue", ())
    for record in queue:
        yield record.dbapi_connection
