"""Drivers of the scenarios in which processes are killed, stopped, blocked or die.

Runs in: the comparison.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
from collections import Counter
from typing import TYPE_CHECKING

from support.cluster import can_bind
from support.waiting import eventually, pause

from benchmarks.reliability.bench import seconds_until
from benchmarks.reliability.clients import Load, SlowRequest, ask, others
from benchmarks.reliability.outcome import Outcome, counted
from benchmarks.reliability.running import APPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.reliability.bench import Bench
    from tornado_multi.testing import processes

KILLS = 20
KILL_EVERY_S = 0.2
WHOLE_WITHIN_S = 10.0
WHOLE_AFTER_KILLS_S = 5.0
SURVIVORS_AFTER_S = 1.0
SURVIVORS_LOOK_S = 4.0
SUSPENDED_S = 5.0
WORKER_TIMEOUT_S = 3
SETTLED_S = 2.0
"""Before the loop blocks: gunicorn's tornado worker first beats 1 s after its start, and is not
watched before that."""
BLOCKED_S = 25
REPLACED_WITHIN_S = 12.0
CRASHING_S = 10.0
SPAWNS_AT_MOST = 20
MENDED_WITHIN_S = 15.0


def kill_workers(bench: Bench) -> Outcome:
    """S4."""
    killed: set[int] = set()
    without_worker = 0
    with bench.running(workers=4) as service:
        with Load(service.port, keeping=6, fresh=2) as load:
            for _ in range(KILLS):
                pause(KILL_EVERY_S)
                if workers := sorted(service.workers()):
                    victim = random.choice(workers)
                    killed.add(victim)  # Before the kill: its clients must find it here.
                    _kill(victim)
                else:
                    without_worker += 1
            whole_s = seconds_until(
                lambda: not killed & service.workers() and service.is_whole(), WHOLE_WITHIN_S
            )
            if service.is_alive():
                load.goes_on()
        innocent = others(load.failures(), killed)
        alive = service.is_alive()
        notes = [counted(len(killed), "kill")]
        if without_worker:
            notes.append(f"no worker at all at {without_worker} of {KILLS} looks")
        if not alive:
            notes.append(f"the supervisor ended with {service.process.poll()}")
        elif whole_s is None:
            notes.append(f"{len(service.ready())} of 4 workers after {WHOLE_WITHIN_S:g} s")
        return Outcome(
            alive
            and not innocent
            and not without_worker
            and whole_s is not None
            and whole_s < WHOLE_AFTER_KILLS_S,
            load.failed(),
            load.requests(),
            unexcused=innocent.total(),
            time_s=whole_s,
            notes=tuple(notes),
        )


def kill_supervisor(bench: Bench) -> Outcome:
    """S5."""
    with bench.running() as service:
        slow = SlowRequest(service.port, "/slow?s=20")
        slow.start()
        eventually(lambda: service.marks("begun"), about="the handler has begun")
        with socket.create_connection(("127.0.0.1", service.port)):
            service.process.kill()
            service.process.wait()
            gone_s = seconds_until(
                lambda: not service.leftovers() and can_bind(service.port), SURVIVORS_AFTER_S
            )
            left = len(service.leftovers())
            notes = []
            if gone_s is None:
                serves = ask(service.port, "/", 2).kind == "success"
                notes.append("they go on serving" if serves else "the port is not served")
                notes.append("port free" if can_bind(service.port) else "port taken")
                late_s = seconds_until(lambda: not service.leftovers(), SURVIVORS_LOOK_S)
                notes.append(
                    f"still there after {SURVIVORS_AFTER_S + SURVIVORS_LOOK_S:g} s"
                    if late_s is None
                    else "gone a little later"
                )
        return Outcome(
            gone_s is not None,
            survivors=left,
            time_s=gone_s,
            time_name="gone after",
            notes=tuple(notes),
        )


def suspend_supervisor(bench: Bench) -> Outcome:
    """S6."""
    with bench.running(worker_timeout_s=WORKER_TIMEOUT_S) as service:
        old = service.workers()
        with Load(service.port, keeping=4, fresh=2) as load:
            service.process.send_signal(signal.SIGSTOP)
            pause(SUSPENDED_S)
            service.process.send_signal(signal.SIGCONT)
            # Whoever kills for a lost heartbeat does so within a second or two.
            seconds_until(lambda: not old <= service.workers(), 3)
        kept = len(old & service.workers())
        return Outcome(
            kept == len(old) and not load.failures() and service.is_alive(),
            load.failed(),
            load.requests(),
            notes=(f"{kept} of {len(old)} workers kept",),
        )


def block_the_loop(bench: Bench) -> Outcome:
    """S7."""
    with bench.running(worker_timeout_s=WORKER_TIMEOUT_S) as service:
        with Load(service.port, keeping=4, fresh=2) as load:
            pause(SETTLED_S)
            blocked = SlowRequest(service.port, f"/block?s={BLOCKED_S}", BLOCKED_S + 10)
            blocked.start()
            pid = int(eventually(lambda: service.marks("begun"), about="the handler blocks")[0])
            killed_s = seconds_until(lambda: pid not in service.workers(), REPLACED_WITHIN_S)
            whole = killed_s is not None and seconds_until(service.is_whole, WHOLE_WITHIN_S)
            load.goes_on()
        innocent = others(load.failures(), {pid})
        stack = _blocking_line_is_named(service.log())
        notes = ["file and line logged" if stack else "no stack logged"]
        if killed_s is None:
            notes.append(f"still blocked after {REPLACED_WITHIN_S:g} s")
            _kill(pid)
        return Outcome(
            stack and bool(whole) and not innocent,
            load.failed(),
            load.requests(),
            unexcused=innocent.total(),
            time_s=killed_s,
            time_name="ended after",
            notes=tuple(notes),
        )


def _blocking_line_is_named(log: str) -> bool:
    """Tell whether a log names the line of ``faults.py`` that blocks, as a traceback would."""
    lines = (APPS / "faults.py").read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "time.sleep(seconds)" in line)
    return re.search(rf'faults\.py"?(, line |:){number}\b', log) is not None


def die_when_ready(bench: Bench) -> Outcome:
    """S8."""
    with bench.running() as service:
        with Load(service.port, keeping=12) as load:
            holders = Counter(client.holder for client in load.clients)
            victim, sibling = sorted(service.workers(), key=lambda pid: holders[pid])
            siblings = [client for client in load.clients if client.holder == sibling]
            before = len(service.loaded())
            service.switch("dies_when_ready", on=True)
            _kill(victim)
            lived = seconds_until(lambda: not service.is_alive(), CRASHING_S) is None
            spawns = len(service.loaded()) - before
            service.switch("dies_when_ready", on=False)
            mended_s = seconds_until(service.is_whole, MENDED_WITHIN_S) if lived else None
            hurt = sum(
                failure.holder == sibling for client in siblings for failure in client.failures
            )
            survivors = None if lived else len(service.leftovers())
        notes = [f"{counted(spawns, 'worker')} started"]
        if not lived:
            notes.append(f"the supervisor ended with {service.process.poll()}")
        elif mended_s is None:
            notes.append(f"not whole {MENDED_WITHIN_S:g} s after the mend")
        return Outcome(
            lived and mended_s is not None and not hurt and spawns <= SPAWNS_AT_MOST,
            load.failed(),
            load.requests(),
            unexcused=hurt,
            survivors=survivors,
            time_s=mended_s,
            time_name="whole after the mend in",
            notes=tuple(notes),
        )


def leave_a_stranger(bench: Bench) -> Outcome:
    """S10."""
    with bench.running(subreaper=True) as service:
        old = service.workers()
        assert ask(service.port, "/orphan").kind == "success", "the orphan could not be made"

        def strangers() -> Sequence[processes.Process]:
            return [
                process
                for process in service.session()
                if process.parent_pid == service.pid and process.title.startswith("sh ")
            ]

        eventually(lambda: not strangers(), within_s=5, about="the orphan has ended")
        # A supervisor that takes the exit code for a worker's ends now, or ends its workers.
        seconds_until(lambda: not service.is_alive() or service.workers() != old, 3)
        zombies = [process for process in service.session() if process.state == "Z"]
        same = service.is_alive() and service.workers() == old
        notes = ["the supervisor lives" if service.is_alive() else "the supervisor ended"]
        notes.append("same workers" if same else "other workers")
        notes.append(counted(len(zombies), "zombie"))
        return Outcome(same and not zombies, notes=tuple(notes))


def kill_one_worker(bench: Bench) -> Outcome:
    """S14."""
    with bench.running(is_plain=True) as service:
        victim, sibling = sorted(service.workers())
        with Load(service.port, keeping=4, fresh=2) as load:
            _kill(victim)
            whole_s = seconds_until(
                lambda: (
                    not service.is_alive()
                    or (victim not in service.workers() and service.is_whole())
                ),
                WHOLE_WITHIN_S,
            )
            lived = service.is_alive()
            load.goes_on()
        innocent = others(load.failures(), {victim})
        kept = sibling in service.workers()
        notes = [] if lived else [f"the supervisor ended with {service.process.poll()}"]
        return Outcome(
            lived and kept and whole_s is not None and not innocent,
            load.failed(),
            load.requests(),
            unexcused=innocent.total(),
            time_s=whole_s if lived else None,
            notes=tuple(notes),
        )


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
