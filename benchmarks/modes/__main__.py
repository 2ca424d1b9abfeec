"""Measure both modes and print tables: ``python -m benchmarks.modes [RUNS]``.

Memory: PSS of everything that is needed for four processes of a heavy and of a small app, after work. Balance:
64 keep-alive clients of one port that three workers share, or of nginx before three ports; clients that
are alike, or a few that ask most; at a pace that the machine can bear, or as fast as they can. Crash: how
many requests of 16 such clients fail when the process that has answered most is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from tornado.testing import bind_unused_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parents[1]
MIB_BYTES = 1024 * 1024
PROCESSES = 4
WORK = 5
"""Requests to each process before memory is measured."""
INSTANCES = 3
CLIENTS = 64
EQUAL = [80] * CLIENTS
"""Requests of each client."""
UNEQUAL = [500] * 8 + [20] * (CLIENTS - 8)
CRASH_CLIENTS = 16
PACED_S = 4.0
"""All clients send what they send over so many seconds: about 1,300 requests a second."""
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
NGINX = """
daemon off; master_process on; worker_processes 2; {user}
pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 100000;
    upstream app {{
        zone app 128k; least_conn;
        {servers}
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""


@contextlib.contextmanager
def started(*command: str, ports: list[int], chdir: Path | None = None) -> Iterator[psutil.Process]:
    """Run a program, from when its ports answer and all its workers are ready, and end it."""
    process = subprocess.Popen(
        command, cwd=chdir, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        if {"serve", "instances"} & {*command}:
            assert process.stdout is not None
            assert any(line.startswith("  control") for line in process.stdout), command
        for port in ports:
            while True:
                assert process.poll() is None, f"{command} has ended"
                with contextlib.suppress(OSError):
                    asyncio.run(ask_in_turn(port, 1))
                    break
                time.sleep(0.05)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def free_ports(count: int) -> list[int]:
    held = [bind_unused_port(address="127.0.0.1") for _ in range(count)]
    for sock, _ in held:
        sock.close()
    return [port for _, port in held]


def free_ports_in_a_row(count: int) -> list[int]:
    while True:
        (first,) = free_ports(1)
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return list(range(first, first + count))


def service(command: str, app: str, first_port: int, *options: str) -> list[str]:
    control = f"{tempfile.gettempdir()}/modes-{os.getpid()}-{first_port}.sock"
    return [
        *(sys.executable, "-m", "tornado_multi", command, app),
        *("--control", control, *options),
    ]


def serve(app: str, port: int, workers: int, *more: str) -> list[str]:
    where = ["--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    return service("serve", app, port, *where, *more)


def instances(app: str, ports: list[int], *more: str) -> list[str]:
    where = ["--count", str(len(ports)), "--first-port", str(ports[0])]
    return service("instances", app, ports[0], *where, *more)


async def ask_in_turn(port: int, times: int, over_s: float = 0.0) -> Counter[str]:
    """Ask on one connection, evenly over so many seconds. Returns how often each process answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seen: Counter[str] = Counter()
    pause_s = over_s / times
    await asyncio.sleep(random.uniform(0, pause_s))
    for _ in range(times):
        if seen and pause_s:
            await asyncio.sleep(pause_s)
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        assert found is not None, head
        body = await reader.readexactly(int(found[1]))
        assert head.startswith(b"HTTP/1.1 200"), head
        seen[body.decode()] += 1
    writer.close()
    return seen


async def ask(port: int, times: list[int], over_s: float = 0.0) -> Counter[str]:
    total: Counter[str] = Counter()
    for seen in await asyncio.gather(*(ask_in_turn(port, count, over_s) for count in times)):
        total += seen
    return total


def pss_mib(processes: list[psutil.Process]) -> float:
    return sum(process.memory_full_info().pss for process in processes) / MIB_BYTES


def _of_tree(command: list[str], ports: list[int]) -> float:
    with started(*command, ports=ports, chdir=HERE) as it:
        # Connections to each worker, all at once, so that each gets its share of the work.
        for port in ports:
            asyncio.run(ask(port, [WORK] * (PROCESSES * 4 // len(ports))))
        return pss_mib([it, *it.children(recursive=True)])


def memory(app: str, *more: str) -> float:
    """Of a service with four workers, its supervisor and its zygote included."""
    (port,) = free_ports(1)
    return _of_tree(serve(app, port, PROCESSES, *more), [port])


def memory_of_instances(app: str) -> float:
    """Of four instances."""
    ports = free_ports_in_a_row(PROCESSES)
    return _of_tree(instances(app, ports), ports)


def memory_by_hand(app: str) -> float:
    """Of four programs that import the app for themselves."""
    ports = free_ports(PROCESSES)
    with contextlib.ExitStack() as stack:
        its = [
            stack.enter_context(
                started(
                    sys.executable, "-m", "modes.apps", app, str(port), ports=[port], chdir=HERE
                )
            )
            for port in ports
        ]
        for port in ports:
            asyncio.run(ask(port, [WORK] * 4))
        return pss_mib(its)


@contextlib.contextmanager
def shared_port() -> Iterator[int]:
    """One listener, three workers."""
    (port,) = free_ports(1)
    with started(*serve("modes.apps:make_app", port, INSTANCES), ports=[port], chdir=HERE):
        yield port


@contextlib.contextmanager
def behind_nginx() -> Iterator[int]:
    """Three listeners with a process each, behind nginx."""
    (port,), ports = free_ports(1), free_ports_in_a_row(INSTANCES)
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            started(*instances("modes.apps:make_app", ports), ports=ports, chdir=HERE)
        )
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        servers = " ".join(f"server 127.0.0.1:{own} max_fails=0;" for own in ports)
        user = "user root;" if os.getuid() == 0 else ""  # whose directory it is
        file = Path(directory) / "nginx.conf"
        file.write_text(NGINX.format(directory=directory, servers=servers, port=port, user=user))
        command = ["nginx", "-p", directory, "-e", f"{directory}/error.log", "-c", str(file)]
        stack.enter_context(started(*command, ports=[port]))
        yield port


class Crash:
    """Clients that ask without a pause while one process is killed."""

    def __init__(self, port: int, method: str) -> None:
        self.port = port
        self.request = (
            f"{method} /?slowly=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
        )
        self.answered: Counter[str] = Counter()
        self.failed = 0
        self.ends = False

    async def client(self) -> None:
        """Ask on one connection, and on another one when it is lost."""
        writer = None
        while not self.ends:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(self.request)
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(found[1])) if found else b""
                if not head.startswith(b"HTTP/1.1 200"):
                    raise ConnectionError
                self.answered[body.decode()] += 1
            except (OSError, asyncio.IncompleteReadError):
                self.failed += 1
                if writer is not None:
                    writer.close()
                writer = None
        if writer is not None:
            writer.close()

    async def _until(self, answered: int) -> None:
        while self.answered.total() < answered:  # noqa: ASYNC110 - a look now and then is enough
            await asyncio.sleep(0.01)

    async def run(self) -> int:
        """Return how many requests fail."""
        tasks = [asyncio.create_task(self.client()) for _ in range(CRASH_CLIENTS)]
        await self._until(500)
        ((busy, _),) = self.answered.most_common(1)
        os.kill(int(re.sub(r"\D", "", busy)), signal.SIGKILL)
        await self._until(self.answered.total() + 1000)
        self.ends = True
        await asyncio.gather(*tasks)
        return self.failed


def busiest(seen: Counter[str]) -> float:
    return max(seen.values()) / (sum(seen.values()) / INSTANCES)


def main() -> None:
    """Measure and print Markdown."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print("| what runs four processes | heavy app, MiB | small app, MiB |\n| - | -: | -: |")
    kinds = {
        "`serve`: supervisor, zygote, 4 workers": memory,
        "`instances`: supervisor, zygote, 4 instances": memory_of_instances,
        "`serve` with `--boot lazy`": lambda app: memory(app, "--boot", "lazy"),
        "4 programs started by hand": memory_by_hand,
    }
    for name, measure in kinds.items():
        found = [
            statistics.median(measure(app) for _ in range(runs))
            for app in ("heavy_app:make_app", "modes.apps:make_app")
        ]
        print(f"| {name} | {found[0]:.0f} | {found[1]:.0f} |", flush=True)
    print(
        f"\n| {INSTANCES} processes | {CLIENTS} clients | requests | busiest / mean |\n| - | - | -: | - |"
    )
    for name, place in (("one port, shared", shared_port), ("nginx, least_conn", behind_nginx)):
        with place() as port:
            for kind, times in (("clients alike", EQUAL), ("8 clients ask most", UNEQUAL)):
                for pace, over_s in (("at a pace", PACED_S), ("as fast as they can", 0.0)):
                    found = [busiest(asyncio.run(ask(port, times, over_s))) for _ in range(runs)]
                    shown = " ".join(f"{one:.2f}" for one in found)
                    print(f"| {name} | {kind}, {pace} | {sum(times)} | {shown} |", flush=True)

    print(
        f"\n| {INSTANCES} processes, {CRASH_CLIENTS} clients, one killed | failed of 1500 |\n| - | - |"
    )
    for name, place in (("one port, shared", shared_port), ("nginx, least_conn", behind_nginx)):
        for method in ("GET", "POST"):
            with place() as port:
                failed = [asyncio.run(Crash(port, method).run()) for _ in range(runs)]
            print(f"| {name}, {method} | {' '.join(map(str, failed))} |", flush=True)


if __name__ == "__main__":
    main()
