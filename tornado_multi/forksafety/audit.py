"""The audit: what the workers would inherit from this process, as findings.

Descriptors, objects and threads are looked at once, before the first fork, and joined with the
lines that the recorder has noted. What several looks see (a pool, its socket, the socket's epoll)
is one finding: whoever comes first claims the descriptor. Runs in: zygote; ``check``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tornado_multi.forksafety import heap
from tornado_multi.forksafety.descriptors import survey
from tornado_multi.forksafety.findings import Finding, Report, in_order
from tornado_multi.forksafety.ledger import Ledger
from tornado_multi.forksafety.looks import belongings, connections, descriptors, loops, threads
from tornado_multi.forksafety.recorder import identity_of
from tornado_multi.forksafety.suppression import Allowance, apply_allowances, say_unused
from tornado_multi.settings.model import QUARANTINE_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tornado_multi.forksafety.heritage import Heritage
    from tornado_multi.forksafety.ledger import Objects
    from tornado_multi.forksafety.recorder import Recorder

LOOKS: dict[str, Callable[[Ledger, Objects], None]] = {
    "event loops": loops.look_at_loops,
    "log files": belongings.look_at_log_files,
    "connections of libraries": connections.look_at_libraries,
    "SQLite handles": connections.look_at_sqlite,
    "TLS connections": connections.look_at_tls,
    "threads": threads.look_at_threads,
    "child processes": belongings.look_at_processes,
    "temporary directories": belongings.look_at_finalizers,
    "random numbers": belongings.look_at_random,
    "the signal wakeup descriptor": belongings.look_at_wakeup,
    "shared memory": belongings.look_at_maps,
}
"""In this order: whoever comes first claims a descriptor."""


class Audit:
    """One audit of this process."""

    def __init__(
        self,
        recorder: Recorder,
        own_fds: Collection[int] = (),
        allowances: Sequence[Allowance] = (),
        quarantine: Collection[str] = QUARANTINE_KINDS,
    ) -> None:
        """Take what it joins.

        Args: own_fds: descriptors of the toolkit itself. allowances: what the settings allow.
            quarantine: the kinds of it that workers will have.
        """
        self._recorder = recorder
        self._own = set(own_fds)
        self._allowances = allowances
        self._quarantine = quarantine
        self._ledger = Ledger(recorder)

    @property
    def heritage(self) -> Heritage:
        """What has to be dealt with at each fork."""
        return self._ledger.heritage

    def run(self) -> Report:
        """Look at everything once."""
        begun_s = time.perf_counter()
        ledger = self._ledger
        with self._recorder.paused():
            ledger.open = {
                fd: item
                for fd, item in survey().items()
                if fd not in self._own and self._recorder.baseline.get(fd) != item.identity
            }
            objects = heap.collect()
            for name, look in LOOKS.items():
                with ledger.in_spite_of(name):
                    look(ledger, objects)
            descriptors.look_at_descriptors(ledger)  # last: what nobody has claimed
            with ledger.in_spite_of("buffers of files"):
                descriptors.remember_writers(ledger, objects)
        judged, unused = apply_allowances(ledger.findings, self._allowances)
        judged = [finding.under(self._quarantine) for finding in judged]
        notes = tuple(map(say_unused, unused))
        self._let_go_of_allowed(judged)
        heritage = self.heritage
        heritage.seen |= self._recorder.baseline
        for fd in self._own:
            identity = identity_of(fd)
            if identity is not None:
                heritage.seen[fd] = identity
        return Report(in_order(judged), time.perf_counter() - begun_s, notes)

    def _let_go_of_allowed(self, findings: list[Finding]) -> None:
        """What the settings allow is shared: it is not made harmless."""
        shared = {
            thing
            for thing, index in self._ledger.said_by.items()
            if findings[index].allowed is not None
        }
        heritage = self.heritage
        heritage.sockets = {fd: end for fd, end in heritage.sockets.items() if -fd not in shared}
        heritage.epolls = {fd for fd in heritage.epolls if -fd not in shared}
        heritage.held = [item for item in heritage.held if id(item) not in shared]
        heritage.randoms = [item for item in heritage.randoms if id(item) not in shared]
