"""TLS: served from files that a reload reads anew, and drained like plain connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import ssl
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.certificates import Authority, Signed
from support.commands import run_command
from support.posting import PostingClient, UnixConnection, post_through_reloads
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

CHUNK = bytes(range(256)) * 256
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def server(authority: Authority) -> Signed:
    return authority.sign("server")


def tls(signed: Signed, *more: str) -> list[str]:
    return ["--tls-certificate", str(signed.certificate), "--tls-key", str(signed.key), *more]


def connect(
    made: Cluster, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """Connect and shake hands."""
    sock = context.wrap_socket(made.connect(), server_hostname="localhost", session=session)
    sock.settimeout(30)
    return sock


def get(made: Cluster, context: ssl.SSLContext, path: str = "/") -> bytes:
    """Return the body of one request on a connection of its own."""
    connection = http.client.HTTPSConnection("127.0.0.1", made.port(), timeout=30, context=context)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        assert response.status == 200
        return response.read()


def read_all(sock: ssl.SSLSocket) -> bytes:
    """Read up to the server's word that nothing follows; a bare end of file is an error."""
    assert isinstance(sock, ssl.SSLSocket)
    sock.suppress_ragged_eofs = False
    data = b""
    while part := sock.recv(1 << 20):
        data += part
    return data


def serial(sock: ssl.SSLSocket) -> int:
    certificate = sock.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)


def serial_served(made: Cluster, context: ssl.SSLContext) -> int:
    with connect(made, context) as sock:
        return serial(sock)


def reload(made: Cluster) -> dict[str, Any]:
    done = run_command(made, "reload", "--json")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["report"]
    assert done.returncode == (0 if report["succeeded"] else 1)
    return report


def begin_drain(made: Cluster) -> None:
    made.signal(signal.SIGTERM)
    eventually(lambda: made.workers("draining"))


# --- serving --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_https_is_served(
    cluster: StartCluster, authority: Authority, server: Signed, loop: str
) -> None:
    """By both loops; startup block and status show https, the app sees it too."""
    made = cluster(options=tls(server, "--loop", loop))

    assert get(made, authority.client_context()).isdigit()
    assert made.address() == f"https://127.0.0.1:{made.port()}"
    assert f"listening  https://127.0.0.1:{made.port()}\n" in made.output()
    assert "https://" in run_command(made, "status").stdout


def test_key_and_certificate_may_stand_in_one_file(
    cluster: StartCluster, authority: Authority
) -> None:
    """Without tls_key the certificate's file holds both."""
    together = authority.sign("together", together=True)
    made = cluster(options=["--tls-certificate", str(together.certificate)])

    assert get(made, authority.client_context()).isdigit()


def test_a_unix_socket_speaks_tls_too(
    cluster: StartCluster, authority: Authority, server: Signed, tmp_path: Path
) -> None:
    """TLS holds for every address of the service."""
    path = tmp_path / "app.sock"
    made = cluster(bind=[f"unix:{path}", "127.0.0.1:0"], options=tls(server))
    connection = UnixConnection(str(path), 30, authority.client_context())
    with contextlib.closing(connection):
        connection.request("GET", "/")
        assert connection.getresponse().read().isdigit()

    assert [f"unix:{path}", True] == [made.address(0), made.address(1).startswith("https://")]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_by_whichever_worker(
    cluster: StartCluster, authority: Authority, server: Signed, version: ssl.TLSVersion
) -> None:
    """The workers of a generation share the keys of session tickets."""
    made = cluster(workers=3, options=tls(server))
    context = authority.client_context()
    context.minimum_version = context.maximum_version = version
    session, served_by, reused = None, Counter[bytes](), []
    while len(served_by) < 3:
        with connect(made, context, session) as sock:
            sock.sendall(GET % b"/")
            served_by[sock.recv(4096).rpartition(b"\r\n\r\n")[2]] += 1
            reused.append(bool(sock.session_reused))
            session = sock.session

    assert [False] == reused[:1]
    assert {True} == set(reused[1:])


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_strangers_to_tls_harm_nobody(
    cluster: StartCluster, authority: Authority, server: Signed, loop: str
) -> None:
    """A plain HTTP client, garbage, and clients that leave in the handshake: closed, served on."""
    made = cluster(workers=1, options=tls(server, "--loop", loop))
    pids = made.worker_pids()
    for words in (GET % b"/", b"\x16\x03\x01\xff\xff" + b"x" * 200, b"\x16\x03", b""):
        with made.connect() as sock:
            sock.sendall(words)
            if len(words) > 5:
                with contextlib.suppress(ConnectionResetError):
                    assert b"HTTP/1.1 200" not in sock.recv(4096)
    eventually(lambda: made.workers()[0]["connections"] == 0)

    assert get(made, authority.client_context()).isdigit()
    assert pids == made.worker_pids()
    assert "Traceback" not in made.log()


# --- clients with certificates --------------------------------------------------------------------


def test_only_clients_of_the_authority_are_served(
    cluster: StartCluster, authority: Authority, server: Signed, tmp_path: Path
) -> None:
    """With its certificate served; without one, or with somebody else's, refused."""
    made = cluster(options=tls(server, "--tls-client-ca", str(authority.file)))
    good = authority.client_context(authority.sign("client"))
    other = Authority(tmp_path / "other", "other").sign("stranger")

    assert get(made, good).isdigit()
    for context in (authority.client_context(), authority.client_context(other)):
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            get(made, context)
    assert get(made, good).isdigit()
    assert "Traceback" not in made.log()


def test_a_reload_takes_over_the_client_authority(
    cluster: StartCluster, authority: Authority, server: Signed, tmp_path: Path
) -> None:
    """From the file: from the next generation on, clients need a certificate."""
    file = tmp_path / "settings.toml"
    file.write_text("")
    made = cluster(options=tls(server, "--config", str(file)))
    assert get(made, authority.client_context()).isdigit()
    file.write_text(f'tls_client_ca = "{authority.file}"\n')
    assert reload(made)["succeeded"]

    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        get(made, authority.client_context())
    assert get(made, authority.client_context(authority.sign("client"))).isdigit()


# --- files that are wrong -------------------------------------------------------------------------

WRONG = {
    "wrong key": "the key does not belong to the certificate",
    "missing certificate": "No such file or directory",
    "missing key": "No such file or directory",
    "garbage certificate": "not PEM, or not what belongs there",
    "garbage key": "not PEM, or not what belongs there",
    "empty certificate": "not PEM, or not what belongs there",
    "key with passphrase": "protected by a passphrase",
    "missing authority": "No such file or directory",
    "garbage authority": "no certificate stands in it",
}


def spoil(signed: Signed, authority: Authority, client_ca: Path, fault: str) -> None:
    """Make one of the files wrong."""
    kind, _, what = fault.partition(" ")
    path = {"certificate": signed.certificate, "key": signed.key, "authority": client_ca}.get(what)
    match kind:
        case "wrong":
            signed.key.write_bytes(authority.sign("another").key.read_bytes())
        case "missing":
            assert path is not None
            path.unlink()
        case "garbage":
            assert path is not None
            path.write_text("garbage\n")
        case "empty":
            assert path is not None
            path.write_text("")
        case "key":
            locked = authority.sign("locked", password=b"secret")
            signed.certificate.write_bytes(locked.certificate.read_bytes())
            signed.key.write_bytes(locked.key.read_bytes())


@pytest.mark.parametrize("fault", WRONG)
def test_a_first_start_with_wrong_files_is_refused(
    cluster: StartCluster, authority: Authority, server: Signed, tmp_path: Path, fault: str
) -> None:
    """Exit code 2 and one sentence with option, file and reason."""
    client_ca = tmp_path / "client_ca.pem"
    client_ca.write_bytes(authority.file.read_bytes())
    spoil(server, authority, client_ca, fault)
    made = cluster(ready=False, workers=1, options=tls(server, "--tls-client-ca", str(client_ca)))

    assert made.wait_gone() == 2
    sentences = [line for line in made.log().splitlines() if "TLS" in line]
    assert 1 == len(sentences)
    assert sentences[0].startswith("TLS can't be set up: tls_")
    assert WRONG[fault] in sentences[0]
    assert "Traceback" not in made.log()


@pytest.mark.parametrize("option", ["--tls-key", "--tls-client-ca"])
def test_a_key_or_authority_alone_is_refused(
    cluster: StartCluster, server: Signed, option: str
) -> None:
    """Who gives one of them expects TLS."""
    made = cluster(ready=False, workers=1, options=[option, str(server.key)])

    assert made.wait_gone() == 2
    assert "but tls_certificate is not: give the certificate too." in made.log()


def test_a_certificate_without_its_key_says_so(cluster: StartCluster, server: Signed) -> None:
    """The key may stand in the certificate's file; where it does not, the option is named."""
    made = cluster(ready=False, workers=1, options=["--tls-certificate", str(server.certificate)])

    assert made.wait_gone() == 2
    assert "no private key stands in it; give tls_key too." in made.log()


@pytest.mark.parametrize("fault", ["wrong key", "missing certificate", "garbage certificate"])
def test_a_reload_with_wrong_files_changes_nothing(
    cluster: StartCluster, authority: Authority, server: Signed, tmp_path: Path, fault: str
) -> None:
    """Exit 1 with the sentence; the old certificate is served on, a mended one by the next reload."""
    made = cluster(options=tls(server))
    pids = made.worker_pids()
    spoil(server, authority, tmp_path, fault)
    report = reload(made)
    context = authority.client_context()

    assert not report["succeeded"]
    assert WRONG[fault] in report["reason"]
    assert server.serial == serial_served(made, context)
    assert pids == made.worker_pids()
    mended = authority.sign("server")  # into the same files
    assert reload(made)["succeeded"]
    assert mended.serial == serial_served(made, context)


# --- reloads --------------------------------------------------------------------------------------


def test_a_new_certificate_is_served_by_new_connections(
    cluster: StartCluster, authority: Authority, server: Signed
) -> None:
    """After the reload; a request in flight on an old connection is answered by the old worker."""
    made = cluster(workers=1, options=tls(server))
    context = authority.client_context()
    with connect(made, context) as old:
        old.sendall(GET % b"/slow?s=1")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        new = authority.sign("server")
        assert reload(made)["succeeded"]
        answer = read_all(old)
        assert server.serial == serial(old)

    assert answer.endswith(b"done")
    assert new.serial != server.serial
    assert new.serial == serial_served(made, context)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_posts_through_reloads_all_succeed(
    cluster: StartCluster, authority: Authority, server: Signed, tmp_path: Path, kind: str
) -> None:
    """POSTs of 16 KiB from 8 keep-alive TLS clients through five reloads: none fails."""
    path = tmp_path / "app.sock"
    made = cluster(bind=["127.0.0.1:0"] if kind == "tcp" else [f"unix:{path}"], options=tls(server))
    address = str(path) if kind == "unix" else made.port()
    context = authority.client_context()
    clients = [PostingClient(address, 63, 0.005, context) for _ in range(8)]
    results, _ = post_through_reloads(clients, lambda: reload(made)["succeeded"])

    assert {"success"} == set(results), results
    assert results["success"] >= 504


# --- drains ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_download_in_progress_arrives_whole(
    cluster: StartCluster, authority: Authority, server: Signed, loop: str
) -> None:
    """20 MB, read by a client that begins to read only when the drain has begun."""
    made = cluster("streams:make_app", workers=1, options=tls(server, "--loop", loop))
    with connect(made, authority.client_context()) as sock:
        sock.sendall(GET % b"/download?chunks=320")
        eventually(lambda: made.status()["workers"][0]["in_flight"] == 1)
        begin_drain(made)
        _, _, body = read_all(sock).partition(b"\r\n\r\n")

    assert body == CHUNK * 320
    assert made.wait_gone() == 0
    assert ", 0 cut." in made.log()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("draining", [False, True])
def test_a_response_to_a_client_that_sent_more_arrives_whole(
    cluster: StartCluster, authority: Authority, server: Signed, loop: str, *, draining: bool
) -> None:
    """2 MB, answered before the body was read: the close lingers, no RST eats the answer."""
    made = cluster("streams:make_app", workers=1, options=tls(server, "--loop", loop))
    with connect(made, authority.client_context()) as sock:
        sock.sendall(GET % b"/")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        if draining:
            begin_drain(made)
        sock.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        sock.sendall(b"x" * 1_000_000)
        _, _, body = read_all(sock).partition(b"\r\n\r\n")

    assert body == CHUNK * 32


def test_a_close_delimited_response_ends_with_close_notify(
    cluster: StartCluster, authority: Authority, server: Signed
) -> None:
    """An HTTP/1.0 client knows the end by the close: it must be able to tell it from a cut."""
    made = cluster("streams:make_app", workers=1, options=tls(server))
    with connect(made, authority.client_context()) as sock:
        sock.sendall(b"GET /?say=hello HTTP/1.0\r\n\r\n")
        answer = read_all(sock)

    assert answer.endswith(b"hello")


def test_a_cut_response_ends_without_close_notify(
    cluster: StartCluster, authority: Authority, server: Signed
) -> None:
    """At the drain's deadline: the client must not take a part for the whole."""
    made = cluster(
        "streams:make_app",
        workers=1,
        options=tls(server, "--drain-streams-s", "0.1", "--drain-timeout-s", "0.5"),
    )
    with connect(made, authority.client_context()) as sock:
        sock.sendall(b"GET /endless HTTP/1.0\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        made.signal(signal.SIGTERM)
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            read_all(sock)

    assert made.wait_gone() == 0
    assert "1 cut (GET streams.Endless)" in made.log()


@pytest.mark.parametrize("tell", ["stop", "reload"])
def test_handshakes_that_are_half_done_do_not_hold_a_drain_up(
    cluster: StartCluster, authority: Authority, server: Signed, tell: str
) -> None:
    """Silent, or after the first bytes of a hello: closed as idle, nothing is cut."""
    made = cluster(workers=1, options=tls(server, "--drain-idle-s", "0.2"))
    silent, begun = made.connect(), made.connect()
    begun.sendall(b"\x16\x03\x01\x02\x00\x01")
    eventually(lambda: made.worker(0)["connections"] == 2)
    if tell == "reload":
        report = reload(made)
        assert (True, 0) == (report["succeeded"], report["cut"])
        assert report["duration_s"] < 10
        assert get(made, authority.client_context()).isdigit()
    assert made.stop() == 0

    for sock in (silent, begun):
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
        sock.close()
    assert [] == re.findall(r"[1-9]\d* cut", made.log())


def test_a_request_right_after_the_handshake_is_served_at_a_stop(
    cluster: StartCluster, authority: Authority, server: Signed
) -> None:
    """A connection that was idle when the drain began may still send its request."""
    made = cluster("streams:make_app", workers=1, options=tls(server, "--drain-idle-s", "5"))
    with connect(made, authority.client_context()) as sock:
        eventually(lambda: made.worker(0)["connections"] == 1)
        begin_drain(made)
        sock.sendall(GET % b"/?say=served")
        answer = read_all(sock)

    assert answer.endswith(b"served")
    assert b"Connection: close" in answer
    assert made.wait_gone() == 0


def test_connections_that_are_queued_at_the_stop_are_served(
    cluster: StartCluster, authority: Authority, server: Signed
) -> None:
    """What the kernel has accepted while the only worker was blocked still gets TLS and an answer."""
    made = cluster(workers=1, options=tls(server, "--drain-timeout-s", "20"))
    context = authority.client_context()
    blocker = connect(made, context)
    blocker.sendall(GET % b"/block?s=1")
    eventually(lambda: made.worker(0)["in_flight"] == 1)
    queued = [made.connect() for _ in range(5)]
    made.signal(signal.SIGTERM)
    answers = []
    for sock in queued:
        with context.wrap_socket(sock, server_hostname="localhost") as secured:
            secured.sendall(GET % b"/")
            answers.append(read_all(secured))
    blocker.close()

    assert [True] * 5 == [answer.startswith(b"HTTP/1.1 200") for answer in answers]
    assert made.wait_gone() == 0


def test_a_client_that_says_goodbye_first_ends_the_drain(
    cluster: StartCluster, authority: Authority, server: Signed
) -> None:
    """Its close_notify and its end of file are heard: nothing lingers for long."""
    made = cluster(workers=1, options=tls(server, "--drain-idle-s", "30"))
    sock = connect(made, authority.client_context())
    sock.sendall(GET % b"/")
    assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    begin_drain(made)
    with contextlib.suppress(ssl.SSLError, OSError):
        sock.settimeout(0)
        sock.unwrap()
    sock.close()

    assert made.wait_gone(10) == 0


def test_the_health_path_is_asked_without_tls(
    cluster: StartCluster, authority: Authority, server: Signed
) -> None:
    """The first new worker asks itself, whatever certificate it serves."""
    made = cluster(workers=1, options=tls(server, "--health-path", "/"))
    assert reload(made)["succeeded"]

    assert get(made, authority.client_context()).isdigit()
