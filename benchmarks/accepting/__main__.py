"""Compare four ways of accepting and print tables: ``python -m benchmarks.accepting [RUNS]``.

What is measured for each: how 40 keep-alive connections spread over 4 workers; how often accept()
is called for one connection, how often workers wake up for it and what that costs, with 1, 4 and 16
workers, one connection at a time and 16 at once (``ab``); what happens to new connections while one
worker of 4 doesn't run; and to queued ones when one of 4 listeners closes.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from benchmarks.accepting.counting import MOST_WORKERS, ROW, SIZE_BYTES, VARIABLE, map_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = {
    "shared": "Tornado's `fork_processes`: one listener",
    "exclusive": "the same with EPOLLEXCLUSIVE",
    "reuseport": "SO_REUSEPORT, one listener each",
    "ours": "`tornado-multi serve`",
}
WORKERS = 4
KEPT = 40
SHORT = 2000
AT_ONCE = 16
ASKED_WHILE_ONE_STOPS = 200
ANSWER_WITHIN_S = 2.0
COLUMNS = {
    "accept()": ("calls", 2),
    "in vain": ("in_vain", 2),
    "wakeups": ("wakeups", 2),
    "CPU us": ("cpu_us", 0),
    "CPU us, 16 at once": ("busy_cpu_us", 0),
}
CLOSED_AFTER_S = 0.5
"""By then every worker has noticed that the clients of one run have left."""
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass
class Service:
    """A running service: its port, and what its workers count."""

    port: int
    counts: object

    def rows(self) -> list[tuple[int, int, int]]:
        """Return (pid, calls of accept(), calls that found nothing) of each worker."""
        found = [ROW.unpack_from(self.counts, index * ROW.size) for index in range(MOST_WORKERS)]  # type: ignore[arg-type]
        return [row for row in found if row[0]]

    def cpu_s(self) -> float:
        """Return the CPU time of all workers."""
        times = [psutil.Process(pid).cpu_times() for pid, _, _ in self.rows()]
        return sum(item.user + item.system for item in times)

    def wakeups(self) -> int:
        """Return how often the workers have gone to sleep, and so been woken."""
        return sum(psutil.Process(pid).num_ctx_switches().voluntary for pid, _, _ in self.rows())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextlib.contextmanager
def running(way: str, workers: int) -> Iterator[Service]:
    """Start a service of one way, and end it."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "counts")
        with open(path, "wb") as file:
            file.truncate(SIZE_BYTES)
        if way == "ours":
            command = ["tornado_multi", "serve", "benchmarks.accepting.counting:make_app"]
            command += ["--bind", "127.0.0.1:0", "--workers", str(workers)]
            command += ["--control", os.path.join(directory, "control")]
        else:
            command = ["benchmarks.accepting.peers", way, str(workers)]
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # how the workers drain
            text=True,
            env={**os.environ, VARIABLE: path},
            start_new_session=way == "ours",
        )
        try:
            assert process.stdout is not None
            port = next(
                int(found[1])
                for line in process.stdout
                if (found := re.search(r"^(?:  listening  \S+:)?(\d+)$", line))
            )
            service = Service(port, map_counts(path))
            while len(service.rows()) < workers or not _answers(service):
                time.sleep(0.02)
            yield service
        finally:
            # Tornado's first process would leave its children behind at a TERM.
            process.send_signal(signal.SIGTERM if way == "ours" else signal.SIGKILL)
            process.wait(60)


def _answers(service: Service) -> bool:
    with contextlib.suppress(OSError), service.connect() as sock:
        return _ask(sock, LAST_REQUEST) is not None
    return False


def _ask(sock: socket.socket, request: bytes = REQUEST) -> int | None:
    """Return the fork_id that answers."""
    sock.sendall(request)
    return _answer(sock)


def _answer(sock: socket.socket) -> int | None:
    seen = b""
    while not (found := re.search(rb"\r\n\r\n(\d+)$", seen)):
        piece = sock.recv(65536)
        if not piece:
            return None
        seen += piece
    return int(found[1])


def spread(service: Service) -> list[int]:
    """Open connections in a burst and ask on each. Returns how many each worker holds."""
    socks = [service.connect() for _ in range(KEPT)]
    for sock in socks:
        sock.sendall(REQUEST)
    held = [0] * WORKERS
    for sock in socks:
        fork_id = _answer(sock)
        assert fork_id is not None
        held[fork_id] += 1
    for sock in socks:
        sock.close()
    return held


@dataclass(frozen=True)
class Cost:
    """Of one fresh connection with one request."""

    calls: float
    in_vain: float
    wakeups: float
    cpu_us: float
    busy_cpu_us: float
    answered: list[int]


def cost(service: Service) -> Cost:
    """Ask on fresh connections: one after the other, then several at once."""
    before, cpu_s, wakeups = service.rows(), service.cpu_s(), service.wakeups()
    answered = [0] * len(before)
    for _ in range(SHORT):
        with service.connect() as sock:
            fork_id = _ask(sock, LAST_REQUEST)
            assert fork_id is not None
            answered[fork_id] += 1
    wakeups, cpu_s = service.wakeups() - wakeups, service.cpu_s() - cpu_s
    after = service.rows()
    busy_cpu_s = service.cpu_s()
    subprocess.run(
        ["ab", "-q", "-n", str(SHORT), "-c", str(AT_ONCE), f"http://127.0.0.1:{service.port}/"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return Cost(
        calls=sum(new[1] - old[1] for old, new in zip(before, after, strict=True)) / SHORT,
        in_vain=sum(new[2] - old[2] for old, new in zip(before, after, strict=True)) / SHORT,
        wakeups=wakeups / SHORT,
        cpu_us=cpu_s / SHORT * 1e6,
        busy_cpu_us=(service.cpu_s() - busy_cpu_s) / SHORT * 1e6,
        answered=sorted(answered, reverse=True),
    )


def unanswered_while_one_stops(service: Service) -> int:
    """Stop one worker and open connections. Returns how many get no answer in time."""
    pid = service.rows()[0][0]
    os.kill(pid, signal.SIGSTOP)
    try:
        socks = [service.connect() for _ in range(ASKED_WHILE_ONE_STOPS)]
        for sock in socks:
            sock.sendall(LAST_REQUEST)
        deadline_s = time.monotonic() + ANSWER_WITHIN_S
        missing = 0
        for sock in socks:
            sock.settimeout(max(0.001, deadline_s - time.monotonic()))
            try:
                missing += _answer(sock) is None
            except TimeoutError:
                missing += 1
        for sock in socks:
            sock.close()
        return missing
    finally:
        os.kill(pid, signal.SIGCONT)


def reset_by_a_close(*, shared: bool) -> int:
    """Queue 100 connections on 4 listeners, or on one that 4 hold; close one. Returns the resets."""
    first = socket.create_server(("127.0.0.1", 0), backlog=256, reuse_port=not shared)
    address = first.getsockname()
    listeners = [
        first,
        *(
            first.dup() if shared else socket.create_server(address, backlog=256, reuse_port=True)
            for _ in range(WORKERS - 1)
        ),
    ]
    socks = [socket.create_connection(address) for _ in range(100)]
    listeners.pop().close()
    reset = 0
    for sock in socks:
        sock.setblocking(False)
        try:
            reset += sock.recv(1) == b""
        except BlockingIOError:
            pass
        except ConnectionResetError:
            reset += 1
    for sock in [*socks, *listeners]:
        sock.close()
    return reset


def _print_table(titles: list[str], rows: list[list[str]]) -> None:
    for cells in (titles, ["-"] * len(titles), *rows):
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


def main() -> None:
    """Measure and print Markdown."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows = []
    for way, name in WAYS.items():
        print(f"measuring {way} ...", file=sys.stderr)
        with running(way, WORKERS) as service:
            held = []
            for _ in range(runs):
                held.append(spread(service))
                time.sleep(CLOSED_AFTER_S)
            lost = unanswered_while_one_stops(service)
        ratios = " ".join(f"{max(one) / (KEPT / WORKERS):.1f}" for one in held)
        rows.append([name, ratios, str(max(held, key=max)), f"{lost} of {ASKED_WHILE_ONE_STOPS}"])
    _print_table(["way", "fullest / mean", "the worst run", "no answer, one stopped"], rows)
    rows = []
    for way, name in WAYS.items():
        for workers in (1, WORKERS, 16):
            print(f"measuring {way} with {workers} workers ...", file=sys.stderr)
            with running(way, workers) as service:
                costs = [cost(service) for _ in range(runs)]
            medians = [
                f"{statistics.median(getattr(one, field) for one in costs):.{digits}f}"
                for field, digits in COLUMNS.values()
            ]
            rows.append([name, str(workers), *medians, str(costs[-1].answered)])
    _print_table(["way", "workers", *COLUMNS, "answered by each"], rows)
    for name, shared in (("shared by all", True), ("SO_REUSEPORT", False)):
        resets = [reset_by_a_close(shared=shared) for _ in range(runs)]
        print(f"{name}: of 100 queued connections reset when 1 of {WORKERS} closes: {resets}")


if __name__ == "__main__":
    main()
