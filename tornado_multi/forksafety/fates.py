"""What becomes of an inherited thing in the workers of ``serve``: healed, cut off, or nothing.

The audit foretells with these what ``inheritance`` does after each fork; both go by the kinds of
quarantine that the settings name. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

State = Literal["healed", "cut off", "unhealed", "shared"]


@dataclass(frozen=True)
class Fate:
    """What a worker makes of one thing."""

    state: State
    text: str
    """The same with its consequence: follows the words "In each worker"."""
    needs: str | None = None
    """The kind of quarantine that does it; None: it needs none."""
    otherwise: Fate | None = None
    """What holds if that is switched off; None: nothing can be done."""

    def under(self, quarantine: Collection[str]) -> Fate:
        """Return what holds with these kinds of quarantine switched on."""
        if self.needs is None or self.needs in quarantine:
            return self
        return UNHEALED if self.otherwise is None else self.otherwise.under(quarantine)


UNHEALED = Fate("unhealed", "nothing can be done; mend it.")
SHARED = Fate("shared", "shared as it is.")
CUT_OFF = Fate(
    "cut off", "cut off; calls fail until the client connects anew, if it does.", "sockets"
)
BEGINS_ANEW = Fate("healed", "healed; it connects anew.", "libraries", CUT_OFF)
"""The adapter drops the connections of the zygote."""
POOL_BEGINS_ANEW = Fate(
    "healed", "healed; the pool sees the dead ends and connects anew.", "sockets"
)
HANDLE_BEGINS_ANEW = Fate("healed", "healed; the engine opens the file anew.", "libraries")
BY_LIBRARY = Fate("healed", "healed; the library sees to it.")
BY_RESOURCE = Fate("healed", "healed; the resource is created anew.")
OF_KINDS = {
    "connected-socket": CUT_OFF,
    "tls-socket": CUT_OFF,
    "database-connection": CUT_OFF,
    "connection-pool": CUT_OFF,
    "epoll": Fate(
        "cut off", "cut off; an empty one takes its place, and watches nothing.", "epolls"
    ),
    "event-loop": Fate(
        "cut off", "cut off; it disturbs no other process, and nothing runs it.", "epolls"
    ),
    "held-lock": Fate("healed", "healed; the lock is free.", "locks"),
    "temporary-directory": Fate("healed", "healed; no worker deletes it."),
    "wakeup-fd": Fate("healed", "healed; signals of workers wake nobody through it."),
    "random": Fate("healed", "healed; it gets a new seed.", "random"),
}
"""kind of finding -> its fate, if the look that has found it knows no better; others: UNHEALED"""
