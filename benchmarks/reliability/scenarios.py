"""The scenarios as data: what is done, when a system passes, what it must have. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Need(StrEnum):
    """What a system must offer for a scenario to apply."""

    RELOAD = "reload"
    MAX_REQUESTS = "max requests"
    HANG_TIMEOUT = "hang timeout"


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    key: str
    title: str
    does: str
    passes_when: str
    graceful: bool = False
    """Nothing is killed or broken, so no request may fail: ours is held to that."""
    needs: frozenset[Need] = frozenset()


SCENARIOS = (
    Scenario(
        "S1",
        "reload in a loop",
        "8 keep-alive clients post 16,256 bytes again and again while reloads follow each other.",
        "no request fails, and at least two reloads have ended",
        graceful=True,
        needs=frozenset({Need.RELOAD}),
    ),
    Scenario(
        "S2a",
        "stop with a request in progress",
        "TERM while a request of 3 s is in progress; 20 s are allowed for that.",
        "the answer is whole, and no process is left 2 s after it",
        graceful=True,
    ),
    Scenario(
        "S2b",
        "reload with a request in progress",
        "Reload while a request of 3 s is in progress; 20 s are allowed for that.",
        "the answer is whole, and every worker is a new one in the end",
        graceful=True,
        needs=frozenset({Need.RELOAD}),
    ),
    Scenario(
        "S3",
        "reload of code that raises at import",
        "Reload bad code under load, then mend the code and reload again.",
        "no request fails, the old workers serve on, and the second reload replaces them",
        graceful=True,
        needs=frozenset({Need.RELOAD}),
    ),
    Scenario(
        "S4",
        "workers killed in a row",
        "Under load, kill -9 of one of 4 workers each 200 ms, 20 times.",
        "nobody is refused, clients of other workers see no failure, some worker is always there, "
        "and 4 workers serve within 5 s of the last kill",
    ),
    Scenario(
        "S5",
        "supervisor killed",
        "kill -9 of the supervisor (master, parent) with an idle connection and a request "
        "in progress.",
        "no process is left after 1 s, and the port can be bound again",
    ),
    Scenario(
        "S6",
        "supervisor stopped and continued",
        "SIGSTOP of the supervisor for 5 s with a worker timeout of 3 s, then CONT, under load.",
        "no worker is killed, and no request fails",
        graceful=True,
    ),
    Scenario(
        "S7",
        "a handler blocks the loop",
        "One of 2 workers, 2 s old or older, blocks in a handler for 25 s, with a worker timeout of 3 s.",
        "the log names file and line of the blocking call, the worker is replaced, and other "
        "clients see no failure",
        needs=frozenset({Need.HANG_TIMEOUT}),
    ),
    Scenario(
        "S8",
        "workers that die once they are ready",
        "Every new worker dies 0.2 s after its start, for 10 s; one healthy sibling has its clients.",
        "at most 20 workers are started, the sibling's clients see no failure, and both workers "
        "are back within 15 s of the mend",
    ),
    Scenario(
        "S10",
        "a stranger's exit",
        "A process that a worker started loses its parent, falls to the supervisor as to process 1, "
        "and exits with 3.",
        "the supervisor lives, the workers are the same, and no zombie is left",
    ),
    Scenario(
        "S13",
        "reload with websockets open",
        "Reload with 10 websockets open.",
        "each of them gets a close frame with 1001 or 1012",
        graceful=True,
        needs=frozenset({Need.RELOAD}),
    ),
    Scenario(
        "S14",
        "one worker killed, default options",
        "kill -9 of one of 2 workers, as the kernel does when memory is short; no option is given "
        "but address and number of workers.",
        "the other worker stays and serves, and there are 2 again within 10 s",
    ),
    Scenario(
        "S16",
        "max requests with a keep-alive client",
        "50 requests of one keep-alive client, with 5 requests per worker.",
        "no request fails, and ten workers have answered",
        graceful=True,
        needs=frozenset({Need.MAX_REQUESTS}),
    ),
)
"""In the order of the table. The numbers have gaps where a scenario needs what others lack."""
