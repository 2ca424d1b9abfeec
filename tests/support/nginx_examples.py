"""Settings of which configurations are made: the documented examples, and a cover of all options."""

from __future__ import annotations

import dataclasses
from typing import Any

from allpairspy import AllPairs

from tornado_multi.deploy.nginx.addresses import peers_of
from tornado_multi.deploy.nginx.plan import Plan
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

CERTIFICATE = {"certificate": "/etc/shop/tls.pem", "certificate_key": "/etc/shop/tls.key"}
EXAMPLES: dict[str, tuple[Settings, NginxSettings]] = {
    "ports": (
        Settings(
            app="shop:make_app",
            instances=InstanceSettings(count="3", first_port=8001),
            proxy=ProxySettings(xheaders=True),
        ),
        NginxSettings(server_name=("shop.example.com",)),
    ),
    "everything": (
        Settings(
            app="shop:make_app",
            instances=InstanceSettings(count="2", unix_dir="/run/shop?mode=660&group=www-data"),
            proxy=ProxySettings(xheaders=True, trusted_downstream=("10.0.0.1", "fd00::1")),
            workers=WorkerSettings(health_path="/health", drain_timeout_s=60),
            http=HttpSettings(max_body_size_bytes=50 * 1024 * 1024, idle_timeout_s=30),
        ),
        NginxSettings(
            server_name=("shop.example.com", "*.shop.example.com"),
            server=("10.0.0.5:8001", "10.0.0.6:8001"),
            stream_path=("/chat", "/events/"),
            upload_path=("/photos/",),
            static=("/static/=/srv/shop/static",),
            rate_limit="50r/s",
            include=("/etc/shop/more.conf",),
            **CERTIFICATE,
        ),
    ),
    "serve": (
        Settings(app="shop:make_app", listen=ListenSettings(bind=("0.0.0.0:8888",))),
        NginxSettings(
            server_name=("localhost",),
            http_port=8080,
            listen_address=("127.0.0.1",),
            balance="hash",
            hash_key="$arg_room",
            retry="non_idempotent",
            gzip=False,
            request_ids=False,
            default_server=False,
            private_listen="127.0.0.1:8081",
            access_log="off",
        ),
    ),
}

OPTIONS: dict[str, list[Any]] = {
    "server_name": [("localhost",), ("shop.example.com", "*.example.org", "[::1]")],
    "server": [(), ("192.0.2.5:8001", "[2001:db8::1]:8001", "app.example.net:80")],
    "listen_address": [(), ("127.0.0.1", "::1")],
    "http_port": [80, 8080],
    "https_port": [443, 8443],
    "public_port": [None, 9443],
    "default_server": [True, False],
    "tls": [None, CERTIFICATE],
    "tls_profile": ["intermediate", "modern"],
    "http2": [True, False],
    "http3": [False, True],
    "hsts_max_age_s": [63_072_000, 0],
    "balance": ["least_conn", "round_robin", "ip_hash", "hash", "random"],
    "upstream_keepalive": [32, 0],
    "remote_max_fails": [3, 0],
    "remote_fail_timeout_s": [5, 1],
    "retry": ["off", "error", "timeout", "non_idempotent"],
    "connect_timeout_s": [2.0, 0.1],
    "read_timeout_s": [60.0, 3.25],
    "send_timeout_s": [60.0, 0.5],
    "stream_path": [(), ("/chat", "/events/", "/a;b{c}'$d/")],
    "stream_timeout_s": [3600.0, 1.0],
    "upload_path": [(), ("/photos/", "/one")],
    "static": [(), ('/static/=/srv/with space; "and" {more}', "/ü/=/srv")],
    "gzip": [True, False],
    "request_ids": [True, False],
    "rate_limit": [None, "50r/s", "300r/m"],
    "rate_burst": [100, 0],
    "private_listen": [None, "127.0.0.1:8081", "unix:/run/with space.sock"],
    "worker_processes": ["auto", "3"],
    "worker_connections": [4096, 64],
    "access_log": ["/var/log/nginx/access.log", "off"],
    "error_log": ["/var/log/nginx/error.log", "/srv/log #1"],
    "nginx_pid_file": ["/run/nginx.pid", "/run/other.pid"],
    "nginx_user": ["www-data", "root"],
    "include": [(), ("/dev/null",)],
    # Of the service:
    "addresses": [
        ListenSettings(),
        ListenSettings(bind=("[::]:8888", "unix:/run/shop #2.sock?mode=666", "localhost:1")),
        InstanceSettings(count="1", first_port=8001, host="::1"),
        InstanceSettings(count="70", unix_dir="/run/shop dir"),
    ],
    "app_tls": [TlsSettings(), TlsSettings(tls_certificate="/a.pem", tls_client_ca="/b.pem")],
    "proxy": [
        ProxySettings(),
        ProxySettings(xheaders=True, trusted_downstream=("10.0.0.1", "fd00::1")),
    ],
    "http": [
        HttpSettings(),
        HttpSettings(max_body_size_bytes=0, idle_timeout_s=0.1, header_timeout_s=0.25),
        HttpSettings(max_body_size_bytes=1_000_001),
    ],
    "workers": [WorkerSettings(), WorkerSettings(health_path="/health?full=1", drain_timeout_s=0)],
    "name": ["shop:make_app", "3-Käse.shop:make_app"],
}
"""option -> values, of which each pair with those of another option is tried."""
NOT_TRIED = {
    "certificate",
    "certificate_key",
    "hash_key",
    "main_file",
    "nginx_program",
    "nginx_version",
}
"""Set together with another one, or not for the text."""


def plan(settings: Settings, options: NginxSettings, nginx: Nginx) -> Plan:
    """Return what a configuration is made from."""
    count = settings.instances.count
    number = 2 if count == "auto" else int(count)
    return Plan(settings, options, nginx, peers_of(settings, number, options.server))


def example(name: str, version: str) -> Plan:
    """Return one of the documented examples, for a version; with OpenSSL 3.5 from 1.29 on."""
    nginx = Nginx(Version.parse(version))
    openssl = Version(3, 5) if nginx.version >= Version(1, 29) else Version(3, 0)
    return plan(*EXAMPLES[name], dataclasses.replace(nginx, openssl=openssl))


def pairwise(nginx: Nginx) -> list[Plan]:
    """Return plans in which each two options have each two values at least once."""
    names = list(OPTIONS)
    found = []
    for values in AllPairs([OPTIONS[name] for name in names]):
        chosen = dict(zip(names, values, strict=True))
        tls = chosen.pop("tls") or {}
        addresses = chosen.pop("addresses")
        where = "instances" if isinstance(addresses, InstanceSettings) else "listen"
        settings = Settings(
            app=chosen.pop("name"),
            tls=chosen.pop("app_tls"),
            proxy=chosen.pop("proxy"),
            http=chosen.pop("http"),
            workers=chosen.pop("workers"),
            **{where: addresses},
        )
        if not tls or not nginx.can("http3"):
            chosen["http3"] = False
        key = "$arg_room" if chosen["balance"] == "hash" else None
        found.append(plan(settings, NginxSettings(hash_key=key, **tls, **chosen), nginx))
    return found
