"""Drivers of the scenarios in which nothing is killed: reloads, stops, max requests.

Runs in: the comparison.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from support.waiting import eventually, pause
from support.websockets import open_websocket

from benchmarks.reliability.bench import seconds_until
from benchmarks.reliability.clients import Client, Load, SlowRequest, websocket_end
from benchmarks.reliability.outcome import Outcome, counted

if TYPE_CHECKING:
    from benchmarks.reliability.bench import Bench
    from benchmarks.reliability.running import Service

RELOADS_FOR_S = 12.0
RELOADS_AT_LEAST = 2
RELOAD_WITHIN_S = 14.0
"""Granian takes 3.5 s for each worker by default; the others need less than one."""
SLOW_S = 3
BAD_CODE_FOR_S = 9.0
"""A system that replaces workers one by one has tried two of them by then."""
WEBSOCKETS = 10
WEBSOCKETS_CLOSED_WITHIN_S = 15.0
GONE_AFTER_ANSWER_S = 2.0
REQUESTS = 50
REQUESTS_PER_WORKER = 5


def reload_in_a_loop(bench: Bench) -> Outcome:
    """S1."""
    with bench.running() as service:
        spans_s: list[float] = []
        with Load(service.port, keeping=8, posts=True) as load:
            begun_s = time.monotonic()
            while len(spans_s) < RELOADS_AT_LEAST or time.monotonic() < begun_s + RELOADS_FOR_S:
                span_s = _reload(service)
                if span_s is None:
                    break
                spans_s.append(span_s)
                pause(0.1 * len(spans_s))  # Growing, as in Puma's test: no rhythm hides a fault.
        enough = len(spans_s) >= RELOADS_AT_LEAST
        notes = [counted(len(spans_s), "reload")]
        if not service.is_alive():
            notes.append(f"the supervisor ended with {service.process.returncode}")
        return Outcome(
            enough and not load.failures(),
            load.failed(),
            load.requests(),
            time_s=sorted(spans_s)[len(spans_s) // 2] if spans_s else None,
            time_name="one reload, median",
            notes=tuple(notes),
        )


def _reload(service: Service) -> float | None:
    old = service.workers()
    if service.is_alive():
        service.reload()
    return (
        seconds_until(lambda: service.has_replaced(old) or not service.is_alive(), RELOAD_WITHIN_S)
        if service.is_alive()
        else None
    )


def stop_with_a_request(bench: Bench) -> Outcome:
    """S2a."""
    with bench.running() as service:
        slow = _slow_request(service)
        service.process.send_signal(signal.SIGTERM)
        slow.join(SLOW_S + 10)
        gone_s = seconds_until(
            lambda: not service.is_alive() and not service.leftovers(), GONE_AFTER_ANSWER_S
        )
        left = len(service.leftovers())
        code = service.process.poll()
        notes = [f"answer after {slow.took_s:.1f} s"]
        if code:
            notes.append(f"exit code {code}")
        return Outcome(
            slow.kind == "success" and gone_s is not None,
            Counter() if slow.kind == "success" else Counter([slow.kind]),
            1,
            survivors=left,
            notes=tuple(notes),
        )


def reload_with_a_request(bench: Bench) -> Outcome:
    """S2b."""
    with bench.running() as service:
        old = service.workers()
        slow = _slow_request(service)
        service.reload()
        slow.join(SLOW_S + 10)
        span_s = seconds_until(lambda: service.has_replaced(old), RELOAD_WITHIN_S)
        notes = [f"answer after {slow.took_s:.1f} s"]
        if span_s is None:
            notes.append("the reload did not end")
        return Outcome(
            slow.kind == "success" and span_s is not None,
            Counter() if slow.kind == "success" else Counter([slow.kind]),
            1,
            notes=tuple(notes),
        )


def _slow_request(service: Service) -> SlowRequest:
    slow = SlowRequest(service.port, f"/slow?s={SLOW_S}", SLOW_S + 10)
    slow.start()
    eventually(lambda: service.marks("begun"), about="the handler has begun")
    return slow


def reload_of_bad_code(bench: Bench) -> Outcome:
    """S3."""
    with bench.running() as service:
        old = service.workers()
        with Load(service.port, keeping=4, fresh=2) as load:
            service.switch("raises_at_import", on=True)
            service.reload()
            # That nothing changes can only be looked at; the good reload proves that it was seen.
            lived = seconds_until(lambda: not service.is_alive(), BAD_CODE_FOR_S) is None
            kept = len(service.workers() & old)
            failed_meanwhile = len(load.failures())
            service.switch("raises_at_import", on=False)
            span_s = _reload(service) if lived else None
        notes = [f"{kept} of {len(old)} old workers kept"]
        if load.failures():
            notes.append(f"{failed_meanwhile} failed before the good reload")
        if not lived:
            notes.append(f"the supervisor ended with {service.process.poll()}")
        elif span_s is None or not service.is_alive():
            notes.append("the good reload did not end")
        return Outcome(
            lived and kept == len(old) and span_s is not None and not load.failures(),
            load.failed(),
            load.requests(),
            time_s=span_s,
            time_name="then good code within",
            notes=tuple(notes),
        )


def reload_with_websockets(bench: Bench) -> Outcome:
    """S13."""
    with bench.running() as service:
        sockets = [open_websocket(service.port, "/ws") for _ in range(WEBSOCKETS)]
        for sock in sockets:
            sock.settimeout(WEBSOCKETS_CLOSED_WITHIN_S)
        service.reload()
        with ThreadPoolExecutor(WEBSOCKETS) as readers:
            ends = Counter(readers.map(websocket_end, sockets))
        for sock in sockets:
            sock.close()
        bad = ends.total() - ends["1001"] - ends["1012"]
        shown = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        cut = Counter({end: n for end, n in ends.items() if end not in {"1001", "1012"}})
        return Outcome(not bad, cut, WEBSOCKETS, notes=(f"closed: {shown}",))


def max_requests(bench: Bench) -> Outcome:
    """S16."""
    with bench.running(workers=1, max_requests=REQUESTS_PER_WORKER) as service:
        client = Client(service.port, limit=REQUESTS)
        client.start()
        eventually(lambda: not client.is_alive(), within_s=25, about="the client has ended")
        client.finish()
        failed = Counter(failure.kind for failure in client.failures)
        pids = len(client.answered_by)
        return Outcome(
            not failed and pids >= REQUESTS // REQUESTS_PER_WORKER,
            failed,
            client.requests(),
            notes=(f"{counted(pids, 'worker')} answered",),
        )
