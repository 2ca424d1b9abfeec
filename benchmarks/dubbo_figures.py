"""Figures of Dubbo calls: CPU time of the calling process for each call, three ways in turn.

The provider is a process of its own, on another core where there is one; its time is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import uvloop

from benchmarks.figures import Figure
from tornado_multi import DubboClient

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 11
CALLS = 2000
AT_ONCE = 10
SERVICE = "com.example.AccountService"
SHARE_BAR = 0.5
"""A binary call costs at most this share of one as text."""


def cpu_per_call() -> list[Figure]:
    """Calls of a small method; ten at once where the client can, one after the other where not."""
    with _provider() as port, _one_core():
        _measured(port, "dubbo")
        spans = [
            (_measured(port, "dubbo"), _measured(port, "telnet"), _naive_us(port))
            for _ in range(RUNS)
        ]
    binary, text, naive = ([one[n] for one in spans] for n in range(3))
    note = f"uvloop, {AT_ONCE} at once"
    return [
        Figure("CPU of a binary call", "us", binary, None, note),
        Figure("CPU of a call as text, pooled", "us", text, None, note),
        Figure("CPU of a call as text, a blocking socket", "us", naive, None, "a connection each"),
        Figure(
            "a binary call in calls as text", "", [a / b for a, b in zip(binary, text, strict=True)],
            SHARE_BAR,
        ),
    ]  # fmt: skip


@contextlib.contextmanager
def _provider() -> Iterator[int]:
    command = [sys.executable, "-m", "tornado_multi.testing.dubbo", "--port", "0"]
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        command = ["taskset", "-c", str(cores[-1]), *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _measured(port: int, protocol: str) -> float:
    """Return the CPU time of one call in microseconds."""

    async def main() -> float:
        async with DubboClient("127.0.0.1", port, protocol=protocol) as client:
            service = client.service(SERVICE)

            async def calls(count: int) -> None:
                for number in range(count):
                    assert number == (await service.getByAccountId(number))["id"]

            await asyncio.gather(*[calls(5) for _ in range(AT_ONCE)])
            begun_ns = time.process_time_ns()
            await asyncio.gather(*[calls(CALLS // AT_ONCE) for _ in range(AT_ONCE)])
            return (time.process_time_ns() - begun_ns) / CALLS / 1000

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _naive_us(port: int) -> float:
    """Do as simple telnet clients do: connect, type, read up to the prompt, close."""
    begun_ns = time.process_time_ns()
    for number in range(CALLS // AT_ONCE):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(f"invoke {SERVICE}.getByAccountId({number})\r\n".encode())
            reply = b""
            while not reply.endswith(b"dubbo>"):
                reply += sock.recv(4096)
        assert number == json.loads(reply.partition(b"\r\n")[0])["id"]
    return (time.process_time_ns() - begun_ns) / (CALLS // AT_ONCE) / 1000
