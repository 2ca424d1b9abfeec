"""Figures of the process model: replacement, death, balance, memory, start."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.figures import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.cluster import VICTIMS, Cluster, can_bind
from support.commands import run_command
from support.load import Load
from support.waiting import eventually, pause

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 10
MIB_BYTES = 1024 * 1024


@contextlib.contextmanager
def running(app: str = "hello:make_app", **options: Any) -> Iterator[Cluster]:
    """A service for one measurement."""
    with tempfile.TemporaryDirectory() as directory:
        made = Cluster(Path(directory) / "c", app, **options)
        try:
            yield made.wait_ready()
        finally:
            made.close()


def replacement_after_kill() -> list[Figure]:
    """From kill -9 of a worker under load to its successor being ready, as status shows it."""
    spans_ms, others, own = [], 0, []
    with running(workers=4) as made, Load(made.port(), 8) as load:
        for _ in range(RUNS):
            fork_id = random.randrange(4)
            pid = made.worker(fork_id)["pid"]
            holders = [client for client in load.clients if int(client.served_by) == pid]
            before = {client: sum(client.errors().values()) for client in load.clients}
            begun_s = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            eventually(
                lambda old=pid: len(made.workers()) == 4 and old not in made.worker_pids(),
                every_s=0.0005,
            )
            spans_ms.append((time.perf_counter() - begun_s) * 1000)
            mark = load.successes()
            load.until(lambda wanted=mark + 50: load.successes() > wanted)
            for client, count in before.items():
                errors = sum(client.errors().values()) - count
                if client in holders:
                    own.append(errors)
                else:
                    others += errors
    return [
        Figure("worker killed under load, successor ready", "ms", tuple(spans_ms), 50),
        Figure("errors of other workers' clients", "", (float(others),), 0, "sum of all kills"),
        Figure("errors per client of the killed worker", "", tuple(map(float, own)) or (0.0,), 1),
    ]


def tree_gone_after_supervisor_kill() -> list[Figure]:
    """From kill -9 of the supervisor to an empty session and a free port."""
    spans_ms = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as directory:
            made = Cluster(Path(directory) / "c", workers=4).wait_ready()
            port = made.port()
            busy, blocked = made.connect(), made.connect()
            busy.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda made=made: sum(row["in_flight"] for row in made.workers()) == 1)
            blocked.sendall(b"GET /block?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda made=made: sum(row["in_flight"] for row in made.workers()) == 2)
            begun_s = time.perf_counter()
            made.signal(signal.SIGKILL)
            made.process.wait()
            eventually(
                lambda made=made, port=port: not made.leftovers() and can_bind(port), every_s=0.001
            )
            spans_ms.append((time.perf_counter() - begun_s) * 1000)
            busy.close()
            blocked.close()
    return [Figure("supervisor killed, tree gone and port free", "ms", tuple(spans_ms), 1000)]


def keep_alive_balance() -> list[Figure]:
    """Forty keep-alive connections on four workers: fullest / mean."""
    ratios = []
    for _ in range(5):
        with running(workers=4) as made, Load(made.port(), 40):
            eventually(lambda made=made: sum(row["connections"] for row in made.workers()) == 40)
            held = [row["connections"] for row in made.workers()]
            ratios.append(max(held) / (sum(held) / 4))
    worst = Figure("40 connections on 4 workers, worst run", "fullest/mean", (max(ratios),), 1.25)
    return [Figure("40 connections on 4 workers", "fullest/mean", tuple(ratios), 1.25), worst]


def idle_supervisor() -> list[Figure]:
    """The supervisor's PSS, and its CPU time over 60 s with 4 idle workers."""
    with running(workers=4) as made:
        process = psutil.Process(made.pid)
        used_percent = _cpu_percent(process, 60)
        pss_mib = process.memory_full_info().pss / MIB_BYTES
        workers = [row["pss_bytes"] / MIB_BYTES for row in made.workers()]
    return [
        Figure("supervisor PSS", "MiB", (pss_mib,), 30),
        Figure("supervisor CPU over 60 s idle", "%", (used_percent,), 0.5),
        Figure("worker PSS", "MiB", tuple(workers)),
    ]


def _cpu_percent(process: psutil.Process, seconds: float) -> float:
    """Return the CPU time that a process used in the next *seconds*, in percent of one core."""
    begun, begun_s = process.cpu_times(), time.perf_counter()
    pause(seconds)
    ended, span_s = process.cpu_times(), time.perf_counter() - begun_s
    return max(0.0, 100 * (ended.user + ended.system - begun.user - begun.system) / span_s)


def start_up() -> list[Figure]:
    """From the command to ready, less what importing the app alone takes."""
    spans_ms = []
    for _ in range(RUNS):
        begun_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import hello"], cwd=VICTIMS, check=True)
        import_s = time.perf_counter() - begun_s
        spans_ms.append((_time_to_ready_s() - import_s) * 1000)
    return [Figure("ready, beyond importing the app alone", "ms", tuple(spans_ms), 300)]


def _time_to_ready_s() -> float:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "tornado_multi", "serve", "hello:make_app"]
        command += ["--workers", "4", "--bind", "127.0.0.1:0", "--control", f"{directory}/c.sock"]
        begun_s = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=VICTIMS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                if line.startswith("  workers"):
                    break
            span_s = time.perf_counter() - begun_s
            process.terminate()
            process.wait()
        return span_s


def two_hundred_workers() -> list[Figure]:
    """Start 200 workers, watch the supervisor, replace one of them, reload all under load."""
    starts_s, spans_ms = [], []
    begun_s = time.perf_counter()
    with running(workers=200) as made:
        starts_s.append(time.perf_counter() - begun_s)
        for _ in range(RUNS):
            pid = made.worker_pids()[17]
            begun_s = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            eventually(
                lambda old=pid: len(made.workers()) == 200 and old not in made.worker_pids(),
                every_s=0.0005,
            )
            spans_ms.append((time.perf_counter() - begun_s) * 1000)
        process = psutil.Process(made.pid)
        supervisor_mib = process.memory_full_info().pss / MIB_BYTES
        used_percent = _cpu_percent(process, 20)
        with Load(made.port(), 8) as load:
            load.until(lambda: load.successes() > 100, within_s=60)
            begun_s = time.perf_counter()
            done = run_command(made, "reload")
            assert done.returncode == 0, done.stderr
            reload_s = time.perf_counter() - begun_s
            load.until(lambda: load.successes() > 200, within_s=60)
            failed, answered = sum(load.errors().values()), load.successes()
    return [
        Figure("200 workers ready", "s", tuple(starts_s)),
        Figure("one of 200 killed, successor ready", "ms", tuple(spans_ms), 100),
        Figure("supervisor PSS with 200 workers", "MiB", (supervisor_mib,)),
        Figure("supervisor CPU over 20 s with 200 idle workers", "%", (used_percent,), 3),
        Figure("reload of 200 workers under load, the command included", "s", (reload_s,)),
        Figure(
            "failed requests in that reload", "", (float(failed),), 0, f"{answered} were answered"
        ),
    ]


def reloads_under_load() -> list[Figure]:
    """Ten seconds of wrk with 64 connections while reloads go on in a loop."""
    spans_s = []
    with running(workers=2) as made:
        url = f"http://127.0.0.1:{made.port()}/"
        with subprocess.Popen(
            ["wrk", "-t2", "-c64", "-d10s", url], stdout=subprocess.PIPE, text=True
        ) as wrk:
            while wrk.poll() is None:
                begun_s = time.perf_counter()
                done = run_command(made, "reload")
                assert done.returncode == 0, done.stderr
                spans_s.append(time.perf_counter() - begun_s)
            assert wrk.stdout is not None
            output = wrk.stdout.read()
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", output)))
    bad = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", output)))
    requests = re.search(r"(\d+) requests in", output)
    assert requests is not None
    note = f"{requests[1]} requests, {len(spans_s)} reloads"
    return [
        Figure("wrk -c 64 through reloads, socket errors", "", (float(errors),), 0, note),
        Figure("wrk -c 64 through reloads, non-2xx answers", "", (float(bad),), 0, note),
        Figure("one reload under this load, the command included", "s", tuple(spans_s)),
    ]


STOCK = """
import asyncio, sys
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
import uvloop, hello
async def main():
    server = HTTPServer(hello.make_app())
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
uvloop.run(main())
"""


def cpu_per_request() -> list[Figure]:
    """CPU time per hello request, one worker, against Tornado's own server on uvloop, in turn."""
    ours, stock = [], []
    process = subprocess.Popen(
        [sys.executable, "-c", STOCK], cwd=VICTIMS, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    stock_port = int(process.stdout.readline())
    try:
        with running(workers=1) as made:
            pid = made.worker_pids()[0]
            port = made.port()
            for _ in range(RUNS):
                ours.append(_cpu_us(pid, port))
                stock.append(_cpu_us(process.pid, stock_port))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    ratios = tuple(mine / theirs for mine, theirs in zip(ours, stock, strict=True))
    return [
        Figure("CPU per hello request, ours", "µs", tuple(ours)),
        Figure("CPU per hello request, Tornado's HTTPServer on uvloop", "µs", tuple(stock)),
        Figure("ratio ours / Tornado's", "", ratios, note="below 1 = ours needs less"),
    ]


def _cpu_us(pid: int, port: int, requests: int = 3000) -> float:
    process = psutil.Process(pid)

    def used_s() -> float:
        times = process.cpu_times()
        return times.user + times.system

    with Load(port, 2) as load:
        first, before_s = load.successes(), used_s()
        load.until(lambda: load.successes() >= first + requests, within_s=60)
        done, after_s = load.successes() - first, used_s()
    return (after_s - before_s) / done * 1e6
