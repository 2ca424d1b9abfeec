"""What the command ``nginx`` asks for beyond the settings of the service: the table [nginx].

As ``model``: each option once. Flags of ``nginx`` have no prefix (``--server-name``), variables are
``TORNADO_MULTI_NGINX_SERVER_NAME``, and keys of the file stand in the table [nginx]. The service
itself reads none of them. No side effects, no environment, no files here.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from tornado_multi.settings.bind import TcpBind, parse_bind
from tornado_multi.settings.model import option

DAY_S = 86400
HOST_NAME = re.compile(
    r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.IGNORECASE
)
RATE = re.compile(r"[1-9][0-9]{0,5}r/[sm]")
HASH_KEY = re.compile(r"(\$[a-z][a-z0-9_]*)+", re.IGNORECASE)
VERSION = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?")


def _check_server_name(text: str) -> None:
    is_v6 = text.startswith("[") and text.endswith("]")
    if is_v6:
        try:
            ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            is_v6 = False
    if text == "_" or not (is_v6 or HOST_NAME.fullmatch(text)):
        message = (
            "must be a host name such as shop.example.com or *.example.com (international names in "
            "their form with xn--)"
        )
        raise ValueError(message)


def _check_server(text: str) -> None:
    bind = parse_bind(text)
    if not isinstance(bind, TcpBind) or bind.port == 0 or text.startswith((":", "*")):
        message = "must be host:port of another machine, as in 10.0.0.5:8001"
        raise ValueError(message)
    _check_host(bind.host)


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not HOST_NAME.fullmatch(host) or host.startswith("*"):
            message = f"{host!r} is neither a host name nor an address"
            raise ValueError(message) from None


def _check_address(text: str) -> None:
    message = "must be an IPv4 or IPv6 address of this machine, without a port"
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(message) from None
    if "%" in text:
        message += " and without a zone such as %eth0, which nginx does not know"
        raise ValueError(message)


def check_path(text: str) -> None:
    """Raises: ValueError: no absolute path of a URL, or one that a browser would not send so."""
    if not text.startswith("/") or not text.isprintable() or set(text) & set(' ?#"\\'):
        message = "must be a path that begins with /, without spaces, ?, # and quotes"
        raise ValueError(message)
    if "%" in text:
        message = "must be a path as nginx compares it: with the letter itself, not with its %XX"
        raise ValueError(message)
    if "//" in text or {".", ".."} & set(text.split("/")):
        message = "must be a path as nginx compares it: without //, /./ and /../"
        raise ValueError(message)


def split_static(text: str) -> tuple[str, str]:
    """Return the URL's prefix and the directory, both ending with a slash.

    Raises: ValueError: with one sentence that says what is allowed.
    """
    url, sign, directory = text.partition("=")
    if not sign or not directory.startswith("/"):
        message = (
            "must be URL=DIRECTORY with an absolute directory, as in /static/=/srv/shop/static"
        )
        raise ValueError(message)
    check_path(url)
    if not directory.strip("/"):
        message = "must be a directory below /: the whole file system would be everybody's"
        raise ValueError(message)
    if not url.strip("/"):
        message = "the URL must be below /, as in /static/=/srv/shop/static"
        raise ValueError(message)
    return url.rstrip("/") + "/", directory.rstrip("/") + "/"


def _check_rate(text: str) -> None:
    if not RATE.fullmatch(text):
        message = "must be a rate such as 50r/s or 300r/m"
        raise ValueError(message)


def _check_hash_key(text: str) -> None:
    if not HASH_KEY.fullmatch(text):
        message = "must be variables of nginx, as in $arg_room or $remote_addr$request_uri"
        raise ValueError(message)


def _check_version(text: str) -> None:
    if not VERSION.fullmatch(text):
        message = "must be a version such as 1.22.1"
        raise ValueError(message)


def _check_processes(text: str) -> None:
    if text != "auto" and not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        message = "must be 1..1024 or auto"
        raise ValueError(message)


def _check_file(text: str) -> None:
    if not text.startswith("/"):
        message = "must be an absolute path"
        raise ValueError(message)


def _check_log(text: str) -> None:
    if text != "off":
        _check_file(text)


def _check_private(text: str) -> None:
    bind = parse_bind(text)
    if isinstance(bind, TcpBind):
        if bind.port == 0 or not (bind.host == "::1" or bind.host.startswith("127.")):
            message = "must be an address of the loopback with a port, as in 127.0.0.1:8080"
            raise ValueError(message)
        _check_address(bind.host)
    elif not text.startswith("unix:") or "?" in text:
        message = "must be unix:/path or 127.0.0.1:port"
        raise ValueError(message)


def _check_user(text: str) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*", text):
        message = "must be the name of a user"
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class NginxSettings:
    """nginx."""

    server_name: tuple[str, ...] = option(
        (),
        "Host name that the service has for its clients; may be repeated. Other names are refused.",
        check=_check_server_name,
    )
    server: tuple[str, ...] = option(
        (),
        "host:port of a worker on another machine, beside those of the settings; may be repeated.",
        check=_check_server,
    )
    listen_address: tuple[str, ...] = option(
        (),
        "Address of this machine that nginx listens on; may be repeated. Default: all, IPv4 and "
        "IPv6.",
        check=_check_address,
    )
    http_port: int = option(
        80,
        "Port for http. With a certificate it only leads to https.",
        at_least=1,
        at_most=65535,
    )
    https_port: int = option(443, "Port for https, with a certificate.", at_least=1, at_most=65535)
    public_port: int | None = option(
        None,
        "Port that clients see, if it is not the one that nginx listens on (port forwarding, "
        "containers).",
        at_least=1,
        at_most=65535,
    )
    default_server: bool = option(
        default=True,
        help="Refuse requests for other host names, with a default server for each port.",
    )
    certificate: str | None = option(
        None, "PEM file with the certificate chain: nginx serves https.", check=_check_file
    )
    certificate_key: str | None = option(
        None, "PEM file with the certificate's private key.", check=_check_file
    )
    tls_profile: Literal["intermediate", "modern"] = option(
        "intermediate",
        "Of Mozilla's guidelines: TLS 1.2 and 1.3, or TLS 1.3 alone.",
    )
    http2: bool = option(default=True, help="HTTP/2, with a certificate.")
    http3: bool = option(default=False, help="HTTP/3 beside HTTP/2; nginx 1.25.0 or later.")
    hsts_max_age_s: int = option(
        63_072_000,
        "Seconds that browsers insist on https for these names, with a certificate; 0: don't ask "
        "them to.",
        at_least=0,
    )
    balance: Literal["least_conn", "round_robin", "ip_hash", "hash", "random"] = option(
        "least_conn",
        "Who gets a request: whoever has the fewest, each in turn, by the client's address, by "
        "--hash-key, or the less busy of two taken by chance.",
    )
    hash_key: str | None = option(
        None,
        "Variables that --balance hash goes by, such as $arg_room.",
        check=_check_hash_key,
    )
    upstream_keepalive: int = option(
        32,
        "Idle connections to the service that each of nginx's workers keeps; 0: none.",
        at_least=0,
        at_most=65535,
    )
    remote_max_fails: int = option(
        3,
        "Failures after which a worker on another machine is left out for a while; 0: never. Those "
        "of this machine are never left out.",
        at_least=0,
        at_most=1000,
    )
    remote_fail_timeout_s: int = option(  # nginx takes no fraction here
        5,
        "Seconds in which those failures are counted, and then of being left out.",
        at_least=1,
        at_most=3600,
    )
    retry: Literal["off", "error", "timeout", "non_idempotent"] = option(
        "timeout",
        "When the next worker is tried: never; when the connection fails; also when connecting "
        "takes too long; also for POST requests that were sent, which may then be done twice.",
    )
    connect_timeout_s: float = option(
        2.0, "Seconds for a connection to the service.", at_least=0.1, at_most=75
    )
    read_timeout_s: float = option(
        60.0,
        "Seconds that the service may be silent while nginx waits for its answer.",
        at_least=0.1,
        at_most=DAY_S,
    )
    send_timeout_s: float = option(
        60.0,
        "Seconds that the service may take nothing of a request.",
        at_least=0.1,
        at_most=DAY_S,
    )
    stream_path: tuple[str, ...] = option(
        (),
        "Path of websockets, event streams or long polls; with / at its end, all below it. May be "
        "repeated.",
        check=check_path,
    )
    stream_timeout_s: float = option(
        3600.0,
        "Seconds of silence on such a path after which nginx hangs up.",
        at_least=1,
        at_most=7 * DAY_S,
    )
    upload_path: tuple[str, ...] = option(
        (),
        "Path whose request bodies reach the service while they come, not when they are whole; with "
        "/ at its end, all below it. May be repeated.",
        check=check_path,
    )
    static: tuple[str, ...] = option(
        (),
        "Files that nginx serves itself: URL=DIRECTORY, as in /static/=/srv/shop/static. May be "
        "repeated; in the environment separated by ;.",
        check=split_static,
        separator=";",
    )
    gzip: bool = option(default=True, help="Compress texts.")
    request_ids: bool = option(
        default=True,
        help="Give each request an X-Request-ID, unless the client has sent a well-formed one.",
    )
    rate_limit: str | None = option(
        None,
        "Requests that a client's address may send, such as 50r/s; more are answered with 429. "
        "Default: no limit.",
        check=_check_rate,
    )
    rate_burst: int = option(
        100, "Requests beyond the rate that are still let through.", at_least=0, at_most=100_000
    )
    private_listen: str | None = option(
        None,
        "Where nginx tells its own figures and which configuration it runs: unix:/path or "
        "127.0.0.1:port. Default: 127.0.0.1:18081, where services are told apart by name.",
        check=_check_private,
    )
    worker_processes: str = option(
        "auto", "Number of nginx's workers, or auto: one per CPU.", check=_check_processes
    )
    worker_connections: int = option(
        4096, "Connections of each of nginx's workers.", at_least=64, at_most=1_000_000
    )
    nginx_user: str = option("www-data", "User that nginx's workers run as.", check=_check_user)
    access_log: str = option(
        "/var/log/nginx/access.log", "nginx's log of requests, or off.", check=_check_log
    )
    error_log: str = option("/var/log/nginx/error.log", "nginx's log of errors.", check=_check_file)
    nginx_pid_file: str = option(
        "/run/nginx.pid", "File with the pid of nginx's master process.", check=_check_file
    )
    include: tuple[str, ...] = option(
        (),
        "File of yours whose directives nginx reads in the service's server block; may be repeated.",
        check=_check_file,
    )
    main_file: str | None = option(
        None,
        "nginx's main file, which is tested before a reload. Default: the output if it is a whole "
        "file, else nginx's own.",
        check=_check_file,
    )
    nginx_program: str = option("nginx", "The program, as a name or a path.")
    nginx_version: str | None = option(
        None,
        "Version to write for, such as 1.22.1. Default: that of the program.",
        check=_check_version,
    )
