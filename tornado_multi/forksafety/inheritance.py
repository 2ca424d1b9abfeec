"""What happens to inherited things at each fork: before it in the zygote, after it in the child.

The quarantine: ``dup2`` puts a dead end over each inherited connection, and a fresh epoll over each
inherited epoll. The numbers stay taken, so that C code which still has them can't meet somebody
else's descriptor, and nothing that the child does reaches the peer, the zygote or a sibling: a
library that may reconnect does, another gets an error.

Rejected: closing what is inherited. Numbers are used again and C code then writes into files that
are not its own (Shopify/pitchfork#56); and a library's own close says goodbye to the server, which
ends the session for the zygote and all siblings.
Left alone: SQLite handles (closing any descriptor of the file drops the process's locks on it),
threads and memory maps, for which there is no cure.
Nothing here logs or imports in the child. Runs in: zygote, and in the processes that it forks.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import stat
import sys
import weakref
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety import descriptors as fds
from tornado_multi.forksafety import explanations
from tornado_multi.forksafety.heap import is_held
from tornado_multi.forksafety.heritage import DeadEnd
from tornado_multi.process.linux import keep_for_ever
from tornado_multi.settings.model import QUARANTINE_KINDS

if TYPE_CHECKING:
    from collections.abc import Collection

    from tornado_multi.forksafety.heritage import Heritage
    from tornado_multi.forksafety.recorder import Recorder

SEED_BYTES = 32
_kept: list[Any] = []


class Inheritance:
    """One zygote's view of what its workers inherit."""

    def __init__(
        self,
        heritage: Heritage,
        recorder: Recorder | None,
        kinds: Collection[str] = QUARANTINE_KINDS,
    ) -> None:
        self._heritage = heritage
        self._recorder = recorder
        self._kinds = frozenset(kinds)
        keep_for_ever(_kept)  # also at the end of a script's interpreter

    # --- in the zygote ----------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Write out buffers, and see what was opened since the audit. Runs in: zygote."""
        for reference in self._heritage.writers:
            thing = reference()
            if thing is not None:
                with contextlib.suppress(Exception):  # closed, a full disk
                    thing.flush()
        self._look_again()

    def _look_again(self) -> None:
        heritage = self._heritage
        for name in os.listdir("/proc/self/fd"):
            fd = int(name)
            try:
                seen = os.fstat(fd)
            except OSError:
                continue  # the listing's own
            identity = (seen.st_dev, seen.st_ino)
            is_known = heritage.seen.get(fd) == identity and fd not in heritage.unconnected
            is_socket = stat.S_ISSOCK(seen.st_mode)
            if is_known or (fd < fds.STREAMS and not is_socket):
                continue
            heritage.seen[fd] = identity
            heritage.sockets.pop(fd, None)
            heritage.epolls.discard(fd)
            heritage.unconnected.discard(fd)
            if is_socket:
                facts = fds.socket_facts(fd)
                if facts is not None and facts.has_session:
                    what = f"connected socket {facts.text()}"
                    heritage.sockets[fd] = DeadEnd(identity, what, "")
                elif facts is not None and facts.may_get_session:
                    heritage.unconnected.add(fd)
            else:
                with contextlib.suppress(OSError):  # a thread of the app has just closed it
                    if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]":
                        heritage.epolls.add(fd)

    # --- in the child -----------------------------------------------------------------------------

    def enter_child(self) -> None:
        """Make what was inherited harmless. Runs in: worker or errand, before anything of the app."""
        cut = self._cut_off_sockets() if "sockets" in self._kinds else {}
        explanations.explain_from_now_on(cut)
        if "epolls" in self._kinds:
            self._replace_epolls()
        if "libraries" in self._kinds:
            for held in self._heritage.held:
                if held.mend is not None:
                    with contextlib.suppress(Exception):  # of a library of another version
                        held.mend()
        if "locks" in self._kinds:
            for lock in self._heritage.locks:
                if is_held(lock):  # by a thread that is not in this process
                    lock._at_fork_reinit()  # noqa: SLF001 - made for this
        if "random" in self._kinds:
            self._reseed()
        disarm_finalizers()
        if self._recorder is not None:
            self._recorder.stop()

    def _cut_off_sockets(self) -> dict[int, tuple[tuple[int, int], DeadEnd]]:
        """Put dead ends in their places; return these with their identities, by descriptor."""
        cut: dict[int, tuple[tuple[int, int], DeadEnd]] = {}
        for fd, end in self._heritage.sockets.items():
            if _identity(fd) != end.identity:
                continue
            ours, theirs = socket.socketpair()
            try:
                if end.farewell is not None:
                    text = explanations.sentence(end)
                    with contextlib.suppress(OSError):
                        theirs.sendall(end.farewell(text))
                os.dup2(ours.fileno(), fd, inheritable=False)
            finally:
                ours.close()
                theirs.close()
            identity = _identity(fd)
            if identity is not None:
                cut[fd] = (identity, end)
                if end.owner is not None:
                    explanations.make_cut_off(end.owner())
        return cut

    def _replace_epolls(self) -> None:
        for fd in self._heritage.epolls:
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]":
                    with select.epoll() as fresh:
                        os.dup2(fresh.fileno(), fd, inheritable=False)

    def _reseed(self) -> None:
        for generator in self._heritage.randoms:
            with contextlib.suppress(Exception):  # of a library of another version
                _reseed_one(generator)


def disarm_finalizers() -> None:
    """Let go of what is to be removed when the zygote ends: a child must not remove it.

    ``weakref.finalize`` has no look at the process; a TemporaryDirectory made before the fork would
    be deleted by the first child that ends or drops it. What a child registers by itself works.
    """
    registry = weakref.finalize._registry  # type: ignore[attr-defined]  # noqa: SLF001
    # What only a finalizer has held on to is not destroyed either: it is the zygote's.
    _kept.extend(finalizer.detach() for finalizer in list(registry))
    # The call at the end of the process was registered with atexit before the fork, and is dropped
    # there with all others: the next finalizer has to register it anew.
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]  # noqa: SLF001


def _reseed_one(generator: Any) -> None:
    if isinstance(generator, random.Random):
        generator.seed(os.urandom(SEED_BYTES))
        return
    seed = int.from_bytes(os.urandom(SEED_BYTES), sys.byteorder)
    bits = getattr(generator, "bit_generator", None)
    if bits is None:  # numpy's old RandomState
        bits = generator._bit_generator  # noqa: SLF001 - it has no public name
    bits.state = type(bits)(seed).state


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        seen = os.fstat(fd)
    except OSError:
        return None
    return seen.st_dev, seen.st_ino
