"""The book of one audit: what was found, who has claimed which descriptor, what children need.

The looks write into it; what several of them see is told once, by whoever comes first.
Runs in: zygote; ``check``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety.findings import Finding, Site, make_finding
from tornado_multi.forksafety.heritage import DeadEnd, Heritage
from tornado_multi.process.tracebacks import first_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tornado_multi.forksafety.descriptors import Descriptor
    from tornado_multi.forksafety.recorder import Recorder

Objects = dict[str, list[Any]]
"""short name of a class -> its objects, see ``heap.collect``"""


class Ledger:
    """What is known so far."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.open: dict[int, Descriptor] = {}
        """The app's descriptors, by number."""
        self.claimed: set[int] = set()
        self.findings: list[Finding] = []
        self.said_by: dict[int, int] = {}
        """What the quarantine has to do with -> index of the finding: id of a Held, -descriptor."""
        self.heritage = Heritage()
        self._by_fd: dict[int, tuple[Any, Site]] | None = None

    @contextlib.contextmanager
    def in_spite_of(self, name: str) -> Iterator[None]:
        """Go on when an object of the app raises what it likes: the rest is to be audited too.

        What the block has claimed is given back, so that its descriptors are judged as such.
        """
        claimed = set(self.claimed)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - as the docstring says
            self.claimed = claimed
            self.add("not-audited", f"{name} can't be looked at: {first_line(error)}", None)

    def add(self, kind: str, what: str, site: Site | None, **more: Any) -> None:
        """Write down a finding; *more* as for ``make_finding``."""
        self.findings.append(make_finding(kind, what, site, **more))

    def claim(self, numbers: Collection[int]) -> None:
        """Say that these descriptors belong to what was just found."""
        self.claimed.update(numbers)

    def site_of_fd(self, fd: int) -> Site | None:
        """Return the line that made a descriptor, by object, number or path."""
        item = self.open.get(fd)
        if item is None:
            return None
        recorder = self.recorder
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
        if self._by_fd is None:
            self._by_fd = {}
            for thing, site in self.recorder.owners():
                with contextlib.suppress(Exception):  # it has none, is closed, or of any library
                    self._by_fd[thing.fileno()] = (thing, site)  # type: ignore[attr-defined]  # as said
        return self._by_fd.get(fd, (None, None))

    def cut_off(self, fd: int, what: str, site: Site | None, farewell: Any = None) -> None:
        """Have a connection made a dead end in children, unless it may be shared."""
        item = self.open.get(fd)
        if item is None or (site is not None and site.allowed is not None):
            return
        place = f"{site.file}:{site.line}" if site is not None else ""
        owner = self._owner_of_fd(fd)[0]
        try:
            reference = None if owner is None else weakref.ref(owner)
        except TypeError:
            reference = None
        self.heritage.sockets[fd] = DeadEnd(item.identity, what, place, farewell, reference)
        self.said_by[-fd] = len(self.findings) - 1

    def replace_epoll(self, fd: int, site: Site | None) -> None:
        """Have an epoll replaced by a fresh one in children, unless it may be shared."""
        if site is None or site.allowed is None:
            self.heritage.epolls.add(fd)
            self.said_by[-fd] = len(self.findings) - 1
