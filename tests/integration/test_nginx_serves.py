"""A service behind a real nginx with the configuration that is written for it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.certificates import Authority
from support.instances import free_ports, start_instances
from support.nginx_server import running_file, running_nginx
from support.programs import require_program, require_root
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect, unix_connect

from tornado_multi.deploy.nginx.addresses import peers_of_listeners
from tornado_multi.deploy.nginx.generate import configuration
from tornado_multi.deploy.nginx.plan import Plan, Private
from tornado_multi.deploy.nginx.program import find_program
from tornado_multi.deploy.nginx.reloading import hash_served
from tornado_multi.deploy.nginx.writing import render
from tornado_multi.settings.model import HttpSettings, ProxySettings, Settings
from tornado_multi.settings.nginx import NginxSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process


@dataclasses.dataclass
class Site:
    """nginx in front of a service."""

    port: int
    tls_port: int | None
    private: Private
    config_hash: str | None

    def get(self, path: str = "/", host: str = "localhost", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.get(url, headers={"Host": f"{host}:{self.port}", **named}, timeout=30)


@contextlib.contextmanager
def site(
    made: Cluster,
    directory: Path,
    *,
    settings: dict[str, Any] | None = None,
    has_tls: bool = False,
    is_whole: bool = False,
    **options: Any,
) -> Iterator[Site]:
    """Run nginx with both parts, on free ports of 127.0.0.1, with all its files below *directory*.

    Args: is_whole: with the whole file in their place, which refuses other names too.
    """
    program = find_program(require_program("nginx", "nginx"))
    port = free_ports(2)
    tls_port = port + 1
    given = {
        "server_name": ("localhost",),
        "listen_address": ("127.0.0.1",),
        "http_port": port,
        "https_port": tls_port,
        "private_listen": f"unix:{directory}/private.sock",
    }
    if is_whole:
        require_root("make nginx's directories in /var/lib")
        logs = {"access_log": "off", "error_log": f"{directory}/error.log"}
        given |= {"nginx_user": "root", "nginx_pid_file": f"{directory}/nginx.pid", **logs}
    base: dict[str, Any] = {"app": "shop:make_app", "proxy": ProxySettings(xheaders=True)}
    plan = Plan(
        Settings(**(base | (settings or {}))),
        NginxSettings(**(given | options)),
        program.nginx,
        peers_of_listeners([(address, None) for address in made.addresses], ()),
    )
    whole = configuration(plan, "all")
    parts = [configuration(plan, part) for part in ("upstream", "server")]
    text = "\n".join(render(part.directives) for part in parts)
    with contextlib.ExitStack() as stack:
        if is_whole:
            directory.mkdir()
            file = directory / "nginx.conf"
            file.write_text(render(whole.directives))
            stack.enter_context(running_file(file, directory))
        else:
            stack.enter_context(running_nginx(text, directory))
        found = tls_port if has_tls else None
        yield Site(port, found, plan.private, (whole if is_whole else parts[0]).config_hash)


@pytest.fixture
def shop(cluster: StartCluster) -> Cluster:
    return cluster("says_who_asks:make_app", workers=2, options=["--xheaders"])


def test_the_service_hears_of_the_client_what_nginx_knows(shop: Cluster, tmp_path: Path) -> None:
    """Address, scheme, host with its port, a request id; what clients say of themselves is dropped."""
    with site(shop, tmp_path / "nginx") as front:
        lies = {
            "X_Real_IP": "6.6.6.6",
            "X_Forwarded_For": "6.6.6.6",
            "X_Scheme": "https",
            "X_Forwarded_Proto": "https",
        }
        told = front.get(**lies).json()
        again = front.get(X_Request_ID="shop-12345678").json()
        bad = front.get(X_Request_ID="no good").json()

        assert ("127.0.0.1", "http") == (told["remote_ip"], told["protocol"])
        assert f"localhost:{front.port}" == told["host"]
        assert 32 == len(told["headers"]["x-request-id"])
        assert "shop-12345678" == again["headers"]["x-request-id"]
        assert 32 == len(bad["headers"]["x-request-id"])
        assert "connection" not in told["headers"]
        assert front.config_hash == hash_served(front.private)


def test_proxies_before_nginx_are_believed_and_nobody_else(shop: Cluster, tmp_path: Path) -> None:
    """Address and scheme come from a trusted one; 127.0.0.1 is one here, then it is not."""
    for trusted, expected in (
        ("127.0.0.1", ("5.5.5.5", "https")),
        ("10.9.9.9", ("127.0.0.1", "http")),
    ):
        proxy = ProxySettings(xheaders=True, trusted_downstream=(trusted,))
        with site(shop, tmp_path / trusted, settings={"proxy": proxy}) as front:
            told = front.get(X_Forwarded_For="6.6.6.6, 5.5.5.5", X_Forwarded_Proto="https").json()

            assert expected == (told["remote_ip"], told["protocol"])


def test_other_names_are_refused(shop: Cluster, tmp_path: Path) -> None:
    """Without an answer, by the whole file; a part leaves them to the file that includes it."""
    with site(shop, tmp_path / "nginx", is_whole=True) as front:
        assert 200 == front.get().status_code
        with pytest.raises(httpx.RemoteProtocolError):
            front.get(host="other.example.com")
    with site(shop, tmp_path / "part") as front:
        assert 200 == front.get(host="other.example.com").status_code


def test_websockets_pass_and_foreign_pages_do_not(shop: Cluster, tmp_path: Path) -> None:
    """Tornado compares Origin with Host, whose port must be right."""
    with site(shop, tmp_path / "nginx", stream_path=("/echo",)) as front:
        url = f"ws://localhost:{front.port}/echo"
        with connect(url, origin=f"http://localhost:{front.port}") as ws:
            ws.send("hello")

            assert "hello" == ws.recv()
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, origin="http://evil.example.com")


def test_events_come_at_once(shop: Cluster, tmp_path: Path) -> None:
    """The first is here while the stream goes on."""
    with site(shop, tmp_path / "nginx", stream_path=("/events",)) as front:
        url = f"http://127.0.0.1:{front.port}/events"
        headers = {"Host": f"localhost:{front.port}", "Accept-Encoding": "gzip"}
        with httpx.stream("GET", url, headers=headers, timeout=30) as response:
            assert "data: first\n\n" == next(response.iter_text())


def test_bodies_up_to_the_limit_of_the_service_pass(shop: Cluster, tmp_path: Path) -> None:
    """Refused is what the service would refuse, and nothing smaller; also on an upload path."""
    http = HttpSettings(max_body_size_bytes=3 * 1024 * 1024)
    with site(shop, tmp_path / "nginx", settings={"http": http}, upload_path=("/up",)) as front:
        for path in ("/", "/up"):
            url = f"http://127.0.0.1:{front.port}{path}"
            headers = {"Host": f"localhost:{front.port}"}
            answers = [
                httpx.post(url, headers=headers, content=bytes(size), timeout=30)
                for size in (http.max_body_size_bytes, http.max_body_size_bytes + 1)
            ]

            assert [200, 413] == [answer.status_code for answer in answers]
            assert {"size": http.max_body_size_bytes} == answers[0].json()


def test_static_files_are_kept_as_long_as_their_url_says(shop: Cluster, tmp_path: Path) -> None:
    """With Tornado's ?v= for ever, without it not; nothing above the directory is served."""
    files = tmp_path / "files {1}"
    files.mkdir()
    (files / "shop.css").write_text("a {}")
    (tmp_path / "secret").write_text("no")
    with site(shop, tmp_path / "nginx", static=(f"/static/={files}",)) as front:
        versioned, plain = front.get("/static/shop.css?v=abc"), front.get("/static/shop.css")
        sock = socket.create_connection(("127.0.0.1", front.port))
        with sock:
            request = (
                "GET /static/../secret HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            sock.sendall(request.encode())
            answer = sock.makefile("rb").read()

        assert "a {}" == versioned.text
        assert "max-age=315360000" == versioned.headers["Cache-Control"]
        assert "Cache-Control" not in plain.headers
        assert b"\r\n\r\nno" not in answer


def test_in_turn_instances_get_equal_shares(cluster: StartCluster, tmp_path: Path) -> None:
    """Of 6,000 requests over 64 connections each of three instances gets a third.

    With least_conn whoever has a core gets more when all ask without a pause; at a bearable pace
    see test_instances_behind_nginx.
    """
    ab = require_program("ab", "apache2-utils")
    made = start_instances(cluster, 3, app="says_who_asks:make_app")
    with site(made, tmp_path / "nginx", balance="round_robin") as front:
        done = subprocess.run(
            [
                *(ab, "-q", "-k", "-n", "6000", "-c", "64", "-l"),
                *("-H", f"Host: localhost:{front.port}", f"http://127.0.0.1:{front.port}/"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    counts = [row["requests"] for row in made.status()["workers"]]

    assert re.search(r"Failed requests: +0\n", done.stdout), done.stdout
    assert "Non-2xx" not in done.stdout
    assert 6000 == sum(counts)
    assert all(abs(count - 2000) <= 40 for count in counts), counts


def test_a_rate_is_kept(shop: Cluster, tmp_path: Path) -> None:
    """Beyond rate and burst the answer is 429."""
    with site(shop, tmp_path / "nginx", rate_limit="1r/m", rate_burst=2) as front:
        assert [200, 200, 200, 429] == [front.get().status_code for _ in range(4)]


def test_tls_as_it_is_written(shop: Cluster, tmp_path: Path) -> None:
    """HTTP/2, HSTS, http leads to https, unknown names get no handshake."""
    authority = Authority(tmp_path / "ca")
    signed = authority.sign("localhost")
    directory = tmp_path / "nginx"
    with site(
        shop, directory, has_tls=True, is_whole=True,
        certificate=str(signed.certificate), certificate_key=str(signed.key),
    ) as front:  # fmt: skip
        url = f"https://localhost:{front.tls_port}/"
        context = authority.client_context()
        transport = httpx.HTTPTransport(verify=context, local_address="127.0.0.1")
        with httpx.Client(transport=transport) as client:
            answer = client.get(url, timeout=30)
        told = answer.json()

        assert ("https", f"localhost:{front.tls_port}") == (told["protocol"], told["host"])
        assert "max-age=63072000" == answer.headers["Strict-Transport-Security"]
        moved = front.get("/a?b=1")
        assert (301, f"{url}a?b=1") == (moved.status_code, moved.headers["Location"])
        assert "h2" == handshake(front, authority, "localhost")
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            handshake(front, authority, "other.example.com")


def handshake(front: Site, authority: Authority, name: str) -> str | None:
    """Return the protocol that nginx chooses."""
    context = authority.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", front.tls_port or 0)) as sock,
        context.wrap_socket(sock, server_hostname=name) as wrapped,
    ):
        return wrapped.selected_alpn_protocol()


def test_a_service_with_tls_of_its_own(cluster: StartCluster, tmp_path: Path) -> None:
    """It is asked in TLS too."""
    signed = Authority(tmp_path / "ca").sign("localhost")
    options = [
        "--xheaders",
        "--tls-certificate",
        str(signed.certificate),
        "--tls-key",
        str(signed.key),
    ]
    made = cluster("says_who_asks:make_app", workers=1, options=options)
    base = Settings(app="a:b").tls
    tls = dataclasses.replace(base, tls_certificate=str(signed.certificate))
    with site(made, tmp_path / "nginx", settings={"tls": tls}) as front:
        assert "127.0.0.1" == front.get().json()["remote_ip"]


def test_a_service_on_a_unix_socket(cluster: StartCluster, tmp_path: Path) -> None:
    """The client's address is known there too."""
    path = tmp_path / "app #1;.sock"
    made = cluster(
        "says_who_asks:make_app", workers=1, bind=[f"unix:{path}"], options=["--xheaders"]
    )
    with site(made, tmp_path / "nginx") as front:
        assert "127.0.0.1" == front.get().json()["remote_ip"]
        with unix_connect(os.fspath(path), "ws://localhost/echo") as ws:  # past nginx: it lives
            ws.send("a")
            assert "a" == ws.recv()
        status = httpx.Client(
            transport=httpx.HTTPTransport(uds=front.private.listen.removeprefix("unix:"))
        )
        with status:
            assert "Active connections" in status.get("http://localhost/status").text
            assert 404 == status.get("http://localhost/").status_code
