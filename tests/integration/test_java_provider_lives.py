"""Real Dubbo providers at their limits, in silence, at their end, and as processes of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import captures, processes
from support.account_calls import CALLS, SERVICE
from support.dubbo_peers import BinaryPeer, TextPeer, request
from support.java_providers import MODULES, JavaProvider
from support.waiting import eventually

from tornado_multi.dubbo import errors
from tornado_multi.dubbo.frames import Frame, Status, encode_frame, heartbeat, heartbeat_answer
from tornado_multi.dubbo.invocation import Call, decode_answer
from tornado_multi.dubbo.telnet.commands import HANDSHAKE, encode_invoke
from tornado_multi.dubbo.telnet.replies import decode_reply, parse_invoke
from tornado_multi.process.linux import become_child_subreaper

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

pytestmark = pytest.mark.process

TESTS = Path(__file__).parents[1]
OLD, MIDDLE, NEW = MODULES


@pytest.fixture(params=MODULES)
def tight_provider(request: pytest.FixtureRequest) -> Iterator[JavaProvider]:
    """One that this test may end: four threads, small messages, and a heartbeat each half second."""
    with JavaProvider(request.param, heartbeat=500, threads=4, payload=50_000) as provider:
        yield provider


def test_a_provider_at_its_limits_and_at_its_end(tight_provider: JavaProvider) -> None:
    """Each limit has its own error, silence its heartbeats, and a stop its farewell.

    One provider for all: (1) an answer over the payload; (2) no free thread; (3) an idle
    connection; (4) a polite stop.
    """
    with tight_provider.connect() as sock:
        check_payload(tight_provider, BinaryPeer(sock))
    with tight_provider.connect() as sock:
        check_threads(tight_provider, BinaryPeer(sock))
    with tight_provider.connect() as sock:
        check_silence(tight_provider, BinaryPeer(sock))
    with tight_provider.connect() as sock:
        check_stop(tight_provider, BinaryPeer(sock))


def check_payload(provider: JavaProvider, peer: BinaryPeer) -> None:
    call = Call(SERVICE, "big", (60_000,), ("int",))
    answer = peer.ask(call)
    captures.keep(provider.dubbo, "binary", "too-large", request(call), peer.received)
    with pytest.raises(errors.OutcomeUnknownError, match=r"dubbo\.protocol\.payload"):
        decode_answer(answer.status, answer.body, "big")

    assert Status.OK == peer.ask(CALLS[0].call(), 2).status


def check_threads(provider: JavaProvider, peer: BinaryPeer) -> None:
    """The news of a connection takes a thread too, so the number of calls that find none is not known."""
    slow = Call(SERVICE, "slow", (400,), ("int",))
    peer.sock.sendall(b"".join(request(slow, number) for number in range(6)))
    answers = [answer for _ in range(6) if (answer := peer.receive()) is not None]
    refused = next(answer for answer in answers if answer.status != Status.OK)
    captures.keep(provider.dubbo, "binary", "no-thread", request(slow), encode_frame(refused))

    with pytest.raises(errors.OverloadedError, match="thread"):
        decode_answer(refused.status, refused.body, "slow")
    assert Status.OK in {answer.status for answer in answers}


def check_silence(provider: JavaProvider, peer: BinaryPeer) -> None:
    """2.6 asks whether we live, and is content with an answer; others just close in the end."""
    peer.sock.sendall(heartbeat(77))
    answered = peer.receive()
    assert answered is not None
    if provider.dubbo == OLD and answered.is_request:  # it may ask at the very beginning
        answered = peer.receive()
        assert answered is not None
    assert (77, False, True) == (answered.id, answered.is_request, answered.is_event)
    peer.received = b""
    asked = peer.receive()
    if provider.dubbo != OLD:
        assert asked is None
        return
    captures.keep(provider.dubbo, "event", "heartbeat", b"", peer.received)
    for _ in range(4):  # longer than it lets us be silent
        assert asked is not None
        assert (True, True, True) == (asked.is_request, asked.is_two_way, asked.is_event)
        peer.sock.sendall(heartbeat_answer(asked))
        asked = peer.receive()


def check_stop(provider: JavaProvider, peer: BinaryPeer) -> None:
    """Whoever is connected is asked to call no more; 2.7 interrupts the calls that it still answers."""
    peer.sock.sendall(request(Call(SERVICE, "slow", (400,), ("int",))) + heartbeat(7))
    while not is_answer(peer.receive(), 7):
        pass  # it has the call when it has answered what came after it
    provider.process.send_signal(signal.SIGTERM)
    peer.received.clear()
    frames: list[Frame] = []
    while len({frame.is_event for frame in frames}) < 2:
        frame = peer.receive()
        assert frame is not None
        if frame.is_read_only_event() or not frame.is_event:
            frames.append(frame)
    farewell = next(frame for frame in frames if frame.is_event)
    answer = next(frame for frame in frames if not frame.is_event)
    captures.keep(provider.dubbo, "event", "read-only", b"", encode_frame(farewell))

    expected = "interrupted" if provider.dubbo == MIDDLE else "slept 400"
    assert expected == decode_answer(answer.status, answer.body, "slow").value


def is_answer(frame: Frame | None, number: int) -> bool:
    assert frame is not None
    return frame.id == number and not frame.is_request


# --- as processes ---------------------------------------------------------------------------------


def test_another_charset_and_prompt() -> None:
    """A provider of 2.6 speaks GBK if it is told to, and ends its replies in any text."""
    with JavaProvider(OLD, charset="GBK", prompt="[.*]+$") as provider, provider.connect() as sock:
        sock.sendall(HANDSHAKE)
        prompt = sock.recv(100)
        peer = TextPeer(sock, prompt)
        reply = peer.ask(encode_invoke(SERVICE, "echo", ("你好 诨",)))

        assert b"[.*]+$" == prompt
        assert "你好 诨" == parse_invoke(decode_reply(reply, "gbk"), "echo")
        with pytest.raises(errors.BadReplyError, match="charset='gbk'"):
            decode_reply(reply, "utf-8")


def is_cut(sock: socket.socket) -> bool:
    """Tell whether the other side is gone, which reads as an end or as a reset."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_provider_is_killed_and_comes_back() -> None:
    """At the same place, as another process; nothing of it is left when it is closed."""
    with JavaProvider(OLD, port=20990, qos=20991, version="1.0.0", group="blue") as provider:
        first = provider.pid
        with provider.connect() as sock:
            provider.kill()

            assert is_cut(sock)
        provider.restart()
        with provider.connect() as sock:
            call = Call(SERVICE, "add", (3, 4), version="1.0.0", group="blue")

            assert Status.OK == BinaryPeer(sock).ask(call).status
        assert first != provider.pid
        assert (20990, 20991) == (provider.port, provider.qos_port)
        network, directory = provider.network, provider.directory
        assert [provider.pid] == network.processes()
    assert not directory.exists()


def test_code_of_ours_in_the_network_of_a_provider(java_provider: JavaProvider) -> None:
    """Commands, coroutines and functions can be run there, and nothing outside can connect."""
    network, port = java_provider.network, java_provider.port
    probe = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
    command = [sys.executable, "-c", probe]

    async def connect() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        read = await reader.readexactly(len(b"dubbo>"))
        writer.close()
        await writer.wait_closed()
        return read

    assert b"dubbo>" == network.run_async(connect)
    assert network.number == network.run(os.stat, "/proc/thread-self/ns/net").st_ino
    assert network.number != os.stat("/proc/self/ns/net").st_ino
    subprocess.run(network.entering(command), check=True)
    with pytest.raises(ValueError, match="seven"):
        network.run(int, "seven")


KILLED_TESTS = f"""
    import json, sys
    from support.java_providers import JavaProvider

    with JavaProvider({OLD!r}) as provider:
        print(json.dumps([provider.network.number, str(provider.directory)]), flush=True)
        sys.stdin.read()
"""


def test_a_provider_does_not_outlive_killed_tests() -> None:
    """The kernel ends it, and what holds its network, when the tests have had no time to."""
    become_child_subreaper()  # what the killed one leaves is collected here
    program = [sys.executable, "-c", textwrap.dedent(KILLED_TESTS)]
    path = {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    with subprocess.Popen(
        program, env=os.environ | path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tests:
        assert tests.stdout is not None
        network, directory = json.loads(tests.stdout.readline())
        left = inside(network)
        tests.kill()

    assert 2 == len(left)
    eventually(lambda: not [pid for pid in left if not has_ended(pid)], about="both have ended")
    shutil.rmtree(directory)


def inside(network: int) -> list[int]:
    found = []
    for process in processes.all_processes():
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{process.pid}/ns/net").st_ino == network:
                found.append(process.pid)
    return found


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended; collect it if it fell to this one."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return processes.read_process(pid) is None
