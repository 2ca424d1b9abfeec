"""Real Dubbo providers: what they answer, refuse and send unasked, and what our pure code makes of it.

With ``WRITE_DUBBO_CAPTURES=1`` the exchanges are kept for the unit tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from support import captures
from support.account_calls import (
    CALLS,
    FAILURES,
    SERVICE,
    STRING,
    TEXT_BY_VERSION,
    TEXT_CALLS,
    TEXT_FAILURES,
    text_account,
)
from support.dubbo_peers import BinaryPeer, TextPeer, read_to_end, request
from support.java_providers import MODULES, JavaProvider

from tornado_multi.dubbo import errors
from tornado_multi.dubbo.frames import (
    Frame,
    Status,
    encode_frame,
)
from tornado_multi.dubbo.hessian import encode
from tornado_multi.dubbo.invocation import Call, decode_answer
from tornado_multi.dubbo.telnet.commands import (
    HANDSHAKE,
    QOS_BYTES,
    SERVICE_PORT_BYTES,
    encode_command,
    encode_invoke,
    encode_ls,
)
from tornado_multi.dubbo.telnet.replies import decode_reply, failure, parse_invoke

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from support.account_calls import AccountCall, AccountFailure

pytestmark = pytest.mark.process

BANNER_END = b"\ndubbo>"
OLD, MIDDLE, NEW = MODULES
TESTS = Path(__file__).parents[1]


@pytest.fixture
def binary(java_provider: JavaProvider) -> Iterator[BinaryPeer]:
    with java_provider.connect() as sock:
        yield BinaryPeer(sock)


def only(*versions: str) -> pytest.MarkDecorator:
    """Run a test with the shared providers of some versions alone."""
    return pytest.mark.parametrize("java_provider", versions, indirect=True)


# --- binary ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CALLS, ids=lambda case: case.name)
def test_calls(java_provider: JavaProvider, binary: BinaryPeer, case: AccountCall) -> None:
    """Every shape of argument and result comes as it is, from every version."""
    answer = binary.ask(case.call())
    captures.keep(java_provider.dubbo, "binary", case.name, request(case.call()), binary.received)
    value = decode_answer(answer.status, answer.body, case.name).value

    assert case.returned == value
    assert type(case.returned) is type(value)


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.name)
def test_failures(java_provider: JavaProvider, binary: BinaryPeer, case: AccountFailure) -> None:
    """One error each, of the kind that says what the caller can do; the connection serves on."""
    answer = binary.ask(case.call)
    captures.keep(java_provider.dubbo, "binary", case.name, request(case.call), binary.received)
    with pytest.raises(errors.DubboError) as caught:
        decode_answer(answer.status, answer.body, case.name)

    case.check(caught.value)
    assert not isinstance(caught.value, errors.RemoteError) or "at " in caught.value.trace
    assert Status.OK == binary.ask(CALLS[0].call(), 2).status


def test_a_class_that_the_provider_does_not_have(
    java_provider: JavaProvider, binary: BinaryPeer
) -> None:
    """Old versions take the fields that fit; 3.x refuses what its allow list lacks."""
    call = Call(
        SERVICE,
        "two",
        ({"class": "com.example.No", "name": "ann"}, "x"),
        ("com.example.User", STRING),
    )
    answer = binary.ask(call)
    captures.keep(java_provider.dubbo, "binary", "unknown-class", request(call), binary.received)
    if java_provider.dubbo == NEW:
        with pytest.raises(errors.RefusedError, match="not in allow list"):
            decode_answer(answer.status, answer.body, "two")
    else:
        assert "User ann x" == decode_answer(answer.status, answer.body, "two").value


def test_attachments_arrive(java_provider: JavaProvider, binary: BinaryPeer) -> None:
    """Those of the caller, beside ours."""
    call = Call(SERVICE, "attachments", attachments={"trace": "7", "who": "客户"})
    answer = binary.ask(call)
    captures.keep(java_provider.dubbo, "binary", "attachments", request(call), binary.received)

    sent = decode_answer(answer.status, answer.body, "attachments").value
    assert {"trace": "7", "who": "客户"}.items() <= sent.items()


def test_answers_come_as_they_are_ready(binary: BinaryPeer) -> None:
    """Many calls are under way on one connection, and the ids tell them apart."""
    slow, quick = Call(SERVICE, "slow", (500,), ("int",)), CALLS[3].call()
    binary.sock.sendall(request(slow, 2**62) + b"".join(request(quick, n) for n in range(50)))
    answers = [binary.receive() for _ in range(51)]

    assert 2**62 == answers[-1].id
    assert set(range(50)) == {answer.id for answer in answers[:-1]}
    assert {Status.OK} == {answer.status for answer in answers}


def test_an_answer_of_20_mb(binary: BinaryPeer) -> None:
    """If the provider's payload allows it."""
    length = 20 * 1024 * 1024
    answer = binary.ask(Call(SERVICE, "big", (length,), ("int",)))

    assert "x" * length == decode_answer(answer.status, answer.body, "big").value


def test_the_echo_that_every_service_has(binary: BinaryPeer) -> None:
    """A call of ``$echo`` tells that a service is there, without calling any of its methods."""
    parts = ("2.0.2", SERVICE, None, "$echo", "Ljava/lang/Object;", "ping", {})
    binary.sock.sendall(encode_frame(Frame(5, encode(*parts), is_request=True, is_two_way=True)))
    answer = binary.receive()

    assert answer is not None
    assert "ping" == decode_answer(answer.status, answer.body, "$echo").value


# --- text -----------------------------------------------------------------------------------------


def ask_for_text(provider: JavaProvider, peer: TextPeer, kind: str, name: str, line: bytes) -> str:
    assert peer.reader.is_clean()
    reply = decode_reply(peer.ask(line), "utf-8")
    captures.keep(provider.dubbo, kind, name, line, peer.received)
    return reply


@pytest.fixture(scope="module")
def text(java_provider: JavaProvider) -> Iterator[TextPeer]:
    """The service port for 2.x; QoS for 3.x, behind its banner, which takes half a second."""
    is_new = java_provider.dubbo == NEW
    connect = java_provider.connect_qos if is_new else java_provider.connect
    with connect() as sock:
        if is_new:
            wait_for_banner(sock)
        yield TextPeer(sock)


def wait_for_banner(sock: socket.socket) -> bytes:
    held = b""
    while not held.endswith(BANNER_END):
        held += sock.recv(4096)
    return held


def kind_of(provider: JavaProvider) -> str:
    return "qos" if provider.dubbo == NEW else "text"


def test_the_handshake(java_provider: JavaProvider) -> None:
    """Every service port answers a blank line of five bytes or more with its prompt alone.

    3.3 does not look at fewer bytes, whatever they are.
    """
    with java_provider.connect() as sock:
        peer = TextPeer(sock)

        assert "" == ask_for_text(java_provider, peer, "text", "handshake", HANDSHAKE)
        assert peer.reader.is_clean()


def test_the_banner_of_qos(java_provider: JavaProvider) -> None:
    """It comes from all versions half a second after the connection, ending in the prompt."""
    with java_provider.connect_qos() as sock:
        banner = wait_for_banner(sock)
        captures.keep(java_provider.dubbo, "event", "banner", b"", banner)
        peer = TextPeer(sock)

        assert 5 == len(banner.split(b"\n"))
        assert "" == ask_for_text(java_provider, peer, "qos", "handshake", HANDSHAKE)
        assert b"BYE!\n" == peer_says_bye(peer)


def peer_says_bye(peer: TextPeer) -> bytes:
    peer.sock.sendall(b"quit\r\n")
    return read_to_end(peer.sock)


@pytest.mark.parametrize("case", TEXT_CALLS, ids=lambda case: case.name)
def test_calls_by_text(java_provider: JavaProvider, text: TextPeer, case: AccountCall) -> None:
    """Every shape that JSON has comes as it is, whatever the version's form of a reply."""
    kind = kind_of(java_provider)
    most_bytes = QOS_BYTES if kind == "qos" else SERVICE_PORT_BYTES
    line = encode_invoke(SERVICE, case.method, case.args, most_bytes)
    reply = ask_for_text(java_provider, text, kind, case.name, line)

    returned = TEXT_BY_VERSION.get((java_provider.dubbo, case.name), case.returned)
    assert returned == parse_invoke(reply, case.name)
    assert text.reader.is_clean()


@pytest.mark.parametrize("case", TEXT_FAILURES, ids=lambda case: case.name)
def test_failures_by_text(
    java_provider: JavaProvider, text: TextPeer, case: AccountFailure
) -> None:
    """The same errors as over the binary port, as far as the text tells."""
    line = encode_invoke(case.call.service, case.call.method, case.call.args)
    reply = ask_for_text(java_provider, text, kind_of(java_provider), case.name, line)
    with pytest.raises(errors.DubboError) as caught:
        parse_invoke(reply, case.name)

    case.check(caught.value)


def test_an_object_by_text(java_provider: JavaProvider, text: TextPeer) -> None:
    """A date is an int of milliseconds from 2.x, and a text from 3.x."""
    line = encode_invoke(SERVICE, "getByAccountId", (5,))
    reply = ask_for_text(java_provider, text, kind_of(java_provider), "account", line)
    value = parse_invoke(reply, "account")
    opened = value.pop("opened")

    assert text_account(5) == value
    assert opened == ("2020-09-13 12:26:40.005" if java_provider.dubbo == NEW else 1600000000005)


def test_a_result_that_names_its_own_parts(java_provider: JavaProvider, text: TextPeer) -> None:
    """JSON of 2.x names what was there before by its path; that is refused, never given as data."""
    line = encode_invoke(SERVICE, "nested", ([[1]],))
    reply = ask_for_text(java_provider, text, kind_of(java_provider), "nested", line)
    if java_provider.dubbo == NEW:
        (named,) = parse_invoke(reply, "nested")

        assert named["of 1"] == named["again"]
    else:
        with pytest.raises(errors.BadReplyError, match="binary protocol"):
            parse_invoke(reply, "nested")


def test_ls_and_status(java_provider: JavaProvider, text: TextPeer) -> None:
    """A list of services has the form of each version, and so has one of the methods of a service."""
    kind = kind_of(java_provider)
    listed = ask_for_text(java_provider, text, kind, "ls", encode_ls())
    methods = ask_for_text(java_provider, text, kind, "ls-service", encode_ls(SERVICE))

    assert SERVICE in listed
    assert ("int add(int,int)" in methods) == (kind == "text")
    if kind == "text":
        assert "OK\r\n" == ask_for_text(
            java_provider, text, kind, "status", encode_command("status")
        )
    else:
        assert "true\r\n" == ask_for_text(java_provider, text, kind, "live", encode_command("live"))


@only(NEW)
def test_the_service_port_of_3_3_has_no_calls(java_provider: JavaProvider) -> None:
    """It says so at once, and the error names the other ways."""
    with java_provider.connect() as sock:
        line = encode_invoke(SERVICE, "add", (3, 4))
        reply = ask_for_text(java_provider, TextPeer(sock), "text", "invoke", line)

    with pytest.raises(errors.NotAllowedError, match="QoS or the binary protocol"):
        parse_invoke(reply, "add")


@only(OLD, MIDDLE)
def test_qos_of_2_x_has_no_calls(java_provider: JavaProvider) -> None:
    """Its texts are those of an unknown command."""
    with java_provider.connect_qos() as sock:
        wait_for_banner(sock)
        line = encode_invoke(SERVICE, "add", (3, 4), QOS_BYTES)
        reply = ask_for_text(java_provider, TextPeer(sock), "qos", "invoke", line)

    assert isinstance(failure(reply, "add"), errors.RefusedError)


# --- HTTP of QoS ----------------------------------------------------------------------------------


def get(provider: JavaProvider, name: str, path: str) -> tuple[int, str]:
    """Return status and body; the connection ends after each."""
    asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with provider.connect_qos() as sock:
        sock.sendall(asked)
        reply = read_to_end(sock)
    captures.keep(provider.dubbo, "http", name, asked, reply)
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def invoke_path(call: Call) -> str:
    line = encode_invoke(call.service, call.method, call.args).decode()
    return "/invoke?call=" + quote(line.removeprefix("invoke ").strip(), safe="")


def test_calls_by_http(java_provider: JavaProvider) -> None:
    """3.3 answers GET with what its text form says, without a prompt; 2.x knows no such page."""
    for case in TEXT_CALLS:
        status, body = get(java_provider, case.name, invoke_path(case.call()))
        if java_provider.dubbo != NEW:
            assert 404 == status
            return
        returned = TEXT_BY_VERSION.get((NEW, case.name), case.returned)
        assert (200, returned) == (status, parse_invoke(body, case.name))


@only(NEW)
@pytest.mark.parametrize("case", TEXT_FAILURES, ids=lambda case: case.name)
def test_failures_by_http(java_provider: JavaProvider, case: AccountFailure) -> None:
    """Their status is 200 too."""
    status, body = get(java_provider, case.name, invoke_path(case.call))
    with pytest.raises(errors.DubboError) as caught:
        parse_invoke(body, case.name)

    case.check(caught.value)
    assert 200 == status


def test_pages_that_every_qos_has(java_provider: JavaProvider) -> None:
    """A list of services is answered, and an unknown command is a page that is not there."""
    status, body = get(java_provider, "ls", "/ls")

    assert (200, True) == (status, SERVICE in body)
    assert (404, "") == get(java_provider, "nosuch", "/nosuch")
