"""What a configuration holds, and why."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.nginx_examples import CERTIFICATE, NOT_TRIED, OPTIONS, pairwise, plan

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.generate import Configuration, configuration
from tornado_multi.deploy.nginx.versions import Nginx, Version
from tornado_multi.settings.model import (
    HttpSettings,
    InstanceSettings,
    ListenSettings,
    ProxySettings,
    Settings,
    TlsSettings,
    WorkerSettings,
)
from tornado_multi.settings.nginx import NginxSettings

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.tree import Directive

NEW = Nginx(Version(1, 31), Version(3, 5))
OLD = Nginx(Version(1, 22, 1), Version(3, 0))


def make(
    nginx: Nginx = OLD, part: Any = "all", settings: dict[str, Any] | None = None, **options: Any
) -> Configuration:
    """Return a configuration for three instances, with these options."""
    given: dict[str, Any] = {
        "app": "shop:make_app",
        "instances": InstanceSettings(count="3", first_port=8001),
        "proxy": ProxySettings(xheaders=True),
    }
    options = {"server_name": ("shop.example.com",)} | options
    made = plan(Settings(**(given | (settings or {}))), NginxSettings(**options), nginx)
    return configuration(made, part)


def walk(directives: tuple[Directive, ...]) -> list[Directive]:
    found = []
    for item in directives:
        found += [item, *walk(item.block or ())]
    return found


def lines(made: Configuration, name: str) -> list[str]:
    """Return the arguments of each directive of this name."""
    return [" ".join(item.args) for item in walk(made.directives) if item.name == name]


def test_a_local_worker_is_never_left_out() -> None:
    """max_fails=0, on ports and sockets; those of other machines are left out for a while."""
    made = make(server=("10.0.0.5:8001",), remote_max_fails=2, remote_fail_timeout_s=60)

    assert lines(made, "server")[:4] == [
        "127.0.0.1:8001 max_fails=0",
        "127.0.0.1:8002 max_fails=0",
        "127.0.0.1:8003 max_fails=0",
        "10.0.0.5:8001 max_fails=2 fail_timeout=60s",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"balance": "least_conn"}, "least_conn;"),
        ({"balance": "ip_hash"}, "ip_hash;"),
        ({"balance": "hash", "hash_key": "$arg_room"}, "hash $arg_room consistent;"),
        ({"balance": "random"}, "random two least_conn;"),
    ],
)
def test_the_balancing_stands_before_the_servers(options: dict[str, Any], says: str) -> None:
    """And before keepalive, which must follow it."""
    text = make(**options).text()

    assert text.index(says) < text.index("server 127.0.0.1:8001") < text.index("keepalive 32;")


def test_nginx_is_the_first_to_close_an_idle_connection() -> None:
    """Its patience is below the service's own, whatever that is."""
    for idle_s, expected in ((75, "60s"), (10, "8s"), (0.1, "80ms"), (3600, "60s")):
        made = make(settings={"http": HttpSettings(idle_timeout_s=idle_s)})
        assert expected in lines(made, "keepalive_timeout")


def test_limits_of_the_service_hold_in_nginx() -> None:
    """Body size, header timeout, drain timeout; a size of 0 does not become "no limit"."""
    made = make(
        settings={
            "http": HttpSettings(max_body_size_bytes=1_000_001, header_timeout_s=7),
            "workers": WorkerSettings(drain_timeout_s=12.5),
        }
    )
    nothing = make(settings={"http": HttpSettings(max_body_size_bytes=0)})

    assert ["1000001"] == lines(made, "client_max_body_size")
    assert ["7s"] == lines(made, "client_header_timeout")
    assert ["12500ms"] == lines(made, "worker_shutdown_timeout")
    assert ["1"] == lines(nothing, "client_max_body_size")


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({}, "$host"),
        ({"http_port": 8080}, "$host:8080"),
        ({"http_port": 8080, "public_port": 80}, "$host"),
        ({"public_port": 8080}, "$host:8080"),
        (CERTIFICATE, "$host"),
        ({**CERTIFICATE, "https_port": 8443}, "$host:8443"),
        ({**CERTIFICATE, "https_port": 8443, "public_port": 443}, "$host"),
        ({**CERTIFICATE, "https_port": 80, "http_port": 81}, "$host:80"),
    ],
)
def test_host_has_the_port_that_browsers_put_into_origin(
    options: dict[str, Any], host: str
) -> None:
    """None for 80 and 443 of their scheme."""
    assert f"Host {host}" in lines(make(**options), "proxy_set_header")


def test_no_client_says_who_it_is() -> None:
    """Every header that Tornado believes is set, once, for all locations."""
    made = make(stream_path=("/a/",), upload_path=("/b/",))
    headers = lines(made, "proxy_set_header")

    assert {"X-Real-IP $remote_addr", "X-Forwarded-For $remote_addr"} <= set(headers)
    assert {"X-Forwarded-Proto $scheme", "X-Scheme $scheme"} <= set(headers)
    assert len(headers) == len({line.split(" ")[0] for line in headers})


def test_proxies_before_nginx_are_believed() -> None:
    """Those of trusted_downstream, in what they say of address and scheme, and nobody else."""
    proxy = ProxySettings(xheaders=True, trusted_downstream=("10.0.0.1", "FD00::1"))
    made = make(settings={"proxy": proxy})

    assert ["10.0.0.1", "fd00::1"] == lines(made, "set_real_ip_from")
    assert "X-Scheme $shop_scheme" in lines(made, "proxy_set_header")
    with pytest.raises(RefusedError, match="trusted_downstream=lb: must be an IP address"):
        make(settings={"proxy": ProxySettings(xheaders=True, trusted_downstream=("lb",))})


def test_the_scheme_of_http2_follows_the_version() -> None:
    """A word of listen, then a directive of its own."""
    old, new = make(OLD, **CERTIFICATE), make(NEW, **CERTIFICATE)

    assert "443 ssl http2" in lines(old, "listen")
    assert [] == lines(old, "http2")
    assert "443 ssl" in lines(new, "listen")
    assert {"on"} == set(lines(new, "http2"))
    assert "443 ssl" in lines(make(OLD, **CERTIFICATE, http2=False), "listen")
    assert {"off"} == set(lines(make(NEW, **CERTIFICATE, http2=False), "http2"))


def test_http3_shares_its_port_once() -> None:
    """One listener of each address says reuseport, and clients are told."""
    for default_server in (True, False):
        made = make(NEW, **CERTIFICATE, http3=True, default_server=default_server)
        found = [line for line in lines(made, "listen") if "quic" in line]
        assert 2 == sum("reuseport" in line for line in found)
        assert 'Alt-Svc h3=":443"; ma=86400 always' in lines(made, "add_header")


def test_tls_is_mozillas() -> None:
    """Protocols and suites of guidelines 6.0; curves by what the library can."""
    made, modern = make(OLD, **CERTIFICATE), make(NEW, **CERTIFICATE, tls_profile="modern")

    assert ["TLSv1.2 TLSv1.3"] == lines(made, "ssl_protocols")
    assert ["TLSv1.3"] == lines(modern, "ssl_protocols")
    assert 6 == lines(made, "ssl_ciphers")[0].count("ECDHE-")
    assert [] == lines(modern, "ssl_ciphers")
    assert ["X25519:prime256v1:secp384r1"] == lines(made, "ssl_ecdh_curve")
    assert ["?X25519MLKEM768:X25519:prime256v1:secp384r1"] == lines(modern, "ssl_ecdh_curve")
    assert [] == lines(make(Nginx(Version(1, 31)), **CERTIFICATE), "ssl_ecdh_curve")


def test_an_old_nginx_refuses_names_with_the_certificate() -> None:
    """Before 1.19.4 a handshake can't be refused."""
    made = make(Nginx(Version(1, 18)), **CERTIFICATE)

    assert [] == lines(made, "ssl_reject_handshake")
    assert 2 == len(lines(made, "ssl_certificate"))


def test_a_service_with_tls_of_its_own_is_asked_in_tls() -> None:
    """With the name that its certificate is for."""
    made = make(
        settings={"tls": TlsSettings(tls_certificate="/a.pem", tls_client_ca="/b.pem")},
        server_name=("*.example.com", "shop.example.com"),
    )

    assert {"https://shop"} == set(lines(made, "proxy_pass"))
    assert ["shop.example.com"] == lines(made, "proxy_ssl_name")
    assert "wants certificates of its clients" in made.notes[0]


def test_a_request_is_not_given_to_the_next_worker_for_being_slow() -> None:
    """The time for other tries never exceeds the time that an answer may take."""
    assert ["10s"] == lines(make(), "proxy_next_upstream_timeout")
    assert ["3s"] == lines(make(read_timeout_s=3.0), "proxy_next_upstream_timeout")
    assert ["off"] == lines(make(retry="off"), "proxy_next_upstream")


def test_retries_that_may_do_harm_carry_a_warning() -> None:
    """In the file and for the user."""
    made = make(retry="non_idempotent")

    assert "may be done twice" in made.notes[0]
    assert "# WARNING: a POST may be done twice" in made.text()


def test_a_service_that_does_not_believe_nginx_is_named() -> None:
    """At the head of the file, and for the user, with the mend."""
    made = make(settings={"proxy": ProxySettings()})

    assert "Give it --xheaders, or xheaders = true" in made.notes[0]
    assert re.search("(?m)^# NOTE: The service does not believe", made.text())
    assert () == make(settings={"proxy": ProxySettings()}, part="upstream").notes


def test_sockets_that_nginx_can_not_use_are_named() -> None:
    """With the mode to write."""
    made = make(settings={"instances": InstanceSettings(count="1", unix_dir="/run/shop")})

    assert "?mode=660&group=www-data" in made.notes[0]


def test_a_path_with_a_slash_holds_what_is_below() -> None:
    """Without one it is that path alone."""
    made = make(stream_path=("/events/", "/chat"), upload_path=("/photos/",))

    assert {"/events/", "= /chat", "/photos/", "/"} <= set(lines(made, "location"))
    assert ["3600s", "3600s", "60s"] == sorted(lines(made, "proxy_read_timeout"))


def test_a_whole_service_may_be_a_stream() -> None:
    """``/`` stands once."""
    assert 1 == [*lines(make(stream_path=("/",)), "location")][-1:].count("/")


def test_looks_at_the_health_are_not_logged() -> None:
    """The paths that the workers answer themselves, and the one that a reload asks."""
    workers = WorkerSettings(health_path="/health?full=1")
    made = make(settings={"workers": workers})
    listen = {"instances": InstanceSettings(), "workers": workers}

    assert ["= /-/ready", "= /-/live", "= /health", "/"] == lines(made, "location")[-4:]
    assert ["= /health", "/"] == lines(make(settings=listen), "location")[-2:]


def test_rates_spare_health_and_static_files() -> None:
    """A look at the health, or a page with many pictures, is no attack."""
    made = make(
        settings={"workers": WorkerSettings(health_path="/health")},
        rate_limit="5r/s",
        rate_burst=0,
        static=("/static=/srv/shop",),
    )
    limited = [
        " ".join(item.args)
        for item in walk(made.directives)
        if item.name == "location" and any(i.name == "limit_req" for i in item.block or ())
    ]

    assert ["/"] == limited
    assert ["zone=shop_clients"] == lines(made, "limit_req")


def test_two_services_fit_into_one_nginx() -> None:
    """Parts use no name of each other, and nothing that the http block of a stranger may have."""
    parts = [
        walk(make(part=part, settings={"app": f"{name}:make_app"}, **CERTIFICATE).directives)
        for name in ("shop", "blog")
        for part in ("upstream", "server")
    ]
    made = [
        {item.args[-1] for item in part if item.name in {"map", "geo", "upstream"}}
        for part in parts
    ]
    top = make(part="server", **CERTIFICATE, rate_limit="5r/s", static=("/s=/s",)).directives

    assert set() == (made[0] | made[1]) & (made[2] | made[3])
    assert {"map", "geo", "limit_req_zone", "server"} >= {item.name for item in top}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop:a", "shop"),
        ("my.shop-2:a", "my_shop_2"),
        ("3-Käse:a", "app_3_k_se"),
        ("_x:a", "app__x"),
        ("shop_in_the_west_of_europe_no_1:a", "shop_in_the_west_of_e_218ddcd1"),
    ],
)
def test_names_are_fit_for_variables(name: str, expected: str) -> None:
    """Letters, digits and underscores, a letter first; not more than nginx has room for."""
    assert f"upstream {expected} {{" in make(settings={"app": name}).text()


def test_the_hash_changes_with_whatever_is_written() -> None:
    """And with nothing else; the part without the private listener has none."""
    first = make()

    assert first.config_hash == make().config_hash
    assert first.config_hash != make(gzip=False).config_hash
    assert f"200 {first.config_hash}" in lines(first, "return")
    assert make(part="server").config_hash is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"server_name": ()}, "server_name is missing"),
        ({"certificate": "/a"}, "certificate is given and --certificate-key is not"),
        ({"certificate_key": "/a"}, "certificate_key is given and --certificate is not"),
        ({**CERTIFICATE, "https_port": 80}, "http_port and https_port are both 80"),
        ({"http3": True}, "http3 needs TLS"),
        ({**CERTIFICATE, "http3": True}, r"http3 needs nginx 1\.25\.0 or later"),
        ({"balance": "hash"}, "--hash-key"),
        ({"static": ("/a=/srv/$x",)}, r"the directory '/srv/\$x/' has a \$"),
        ({"access_log": "/var/$x"}, r"the path of the log"),
        ({"static": ("/a=/srv/a\n",)}, "control character or a line end"),
        ({"static": ("/a/=/x",), "stream_path": ("/a/",)}, "one path can't be both"),
        ({"upload_path": ("/b", "/b")}, "one path can't be both"),
        ({"http_port": 8002}, r"The service listens on 127\.0\.0\.1:8002, and nginx would"),
        ({"listen_address": ("0.0.0.0",), "http_port": 8002}, "nginx would listen there too"),
        ({"listen_address": ("127.0.0.1",), "http_port": 8002}, "nginx would listen there too"),
        ({**CERTIFICATE, "https_port": 8001}, "nginx would listen there too"),
        ({"private_listen": "127.0.0.1:8003"}, "nginx would listen there too"),
        ({"private_listen": "127.0.0.1:80"}, "is a port of the site too"),
        ({"private_listen": "127.0.0.1:443", **CERTIFICATE}, "is a port of the site too"),
        ({"listen_address": ("::1", "[::1]")}, r"nginx would listen on \[::1\]:80 twice"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: dict[str, Any], says: str) -> None:
    """One sentence that says what is missing or too much."""
    with pytest.raises(RefusedError, match=says):
        make(**options).text()


def test_a_port_of_another_address_is_free() -> None:
    """The service keeps to the loopback, and nginx to another address or family."""
    for given in ("10.0.0.5", "::"):
        assert make(listen_address=(given,), http_port=8002).text()


def test_long_names_of_hosts_have_room() -> None:
    """In the whole file; who has an http block of his own is told."""
    name = f"{'long-' * 9}name.example.com"

    assert ["512"] == lines(make(server_name=(name,)), "server_names_hash_bucket_size")
    assert [] == lines(make(), "server_names_hash_bucket_size")
    assert "server_names_hash_bucket_size 512;" in make(part="server", server_name=(name,)).notes[0]


def test_serve_has_one_server_for_each_address() -> None:
    """Without instances the addresses of --bind are meant."""
    listen = ListenSettings(bind=("0.0.0.0:8888", "unix:/run/shop.sock?mode=666"))
    made = make(settings={"instances": InstanceSettings(), "listen": listen})

    assert ["127.0.0.1:8888 max_fails=0", "unix:/run/shop.sock max_fails=0"] == lines(
        made, "server"
    )[:2]


def test_the_cover_knows_every_option() -> None:
    """An option that is added is tried too."""
    known = {*OPTIONS, *NOT_TRIED}

    assert set() == {item.name for item in dataclasses.fields(NginxSettings)} - known


@pytest.mark.parametrize("part", ["all", "upstream", "server"])
def test_every_combination_can_be_written_for_a_new_nginx(part: Any) -> None:
    """None of the pairs of options fails, and the same settings make the same text."""
    for made in pairwise(NEW):
        assert configuration(made, part).text() == configuration(made, part).text()
