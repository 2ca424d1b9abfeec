"""A configuration changed so that its test touches nothing."""

from __future__ import annotations

from tornado_multi.deploy.nginx.rehearsal import Rehearsal
from tornado_multi.deploy.nginx.tree import Directive


def change(*directives: Directive, readable: tuple[str, ...] = ()) -> tuple[Directive, ...]:
    return Rehearsal("/t", readable.__contains__).of_file(directives)


def server(*directives: Directive) -> Directive:
    return Directive("server", (), directives)


def test_equal_addresses_stay_equal_and_others_apart() -> None:
    """So that nginx still finds two default servers of one port."""
    listens = [("80",), ("[::]:80",), ("80", "ssl"), ("443", "quic"), ("443",)]
    (changed,) = change(server(*(Directive("listen", args) for args in listens)))

    assert [item.args for item in changed.block or ()] == [
        ("unix:/t/0",),
        ("unix:/t/1",),
        ("unix:/t/0", "ssl"),
        ("127.0.0.1:43002", "quic"),
        ("unix:/t/3",),
    ]


def test_files_that_nginx_would_write_go_elsewhere() -> None:
    """Logs, pid and temporary directories; what it reads stays."""
    changed = change(
        Directive("pid", ("/run/nginx.pid",)),
        Directive("error_log", ("/var/log/e", "warn")),
        Directive(
            "http",
            (),
            (
                Directive("access_log", ("/var/log/a",)),
                Directive("access_log", ("off",)),
                Directive("include", ("/etc/nginx/mime.types",)),
            ),
        ),
    )
    http = [(item.name, item.args) for item in changed[2].block or ()]

    assert [("/t/nginx.pid",), ("/t/error.log", "warn")] == [item.args for item in changed[:2]]
    assert ("client_body_temp_path", ("/t/client_body",)) == http[0]
    assert http[-3:] == [
        ("access_log", ("/t/access.log",)),
        ("access_log", ("off",)),
        ("include", ("/etc/nginx/mime.types",)),
    ]


def test_names_of_the_upstream_need_not_be_known_here() -> None:
    """An address stays, a name becomes one; a unix socket is no name."""
    servers = ["127.0.0.1:1", "[::1]:1", "unix:/run/a.sock", "app:1", "db:2", "app:3"]
    block = tuple(Directive("server", (text, "max_fails=0")) for text in servers)
    (changed,) = change(Directive("upstream", ("shop",), block))

    assert [item.args[0] for item in changed.block or ()] == [
        *servers[:3],
        "192.0.2.1:1",
        "192.0.2.2:2",
        "192.0.2.1:3",
    ]


def test_certificates_are_tested_if_they_can_be_read() -> None:
    """Otherwise their server is tested without, and the caller can say so."""
    tls = (Directive("ssl_certificate", ("/c",)), Directive("ssl_certificate_key", ("/k",)))
    rehearsal = Rehearsal("/t", lambda path: path == "/c")
    (changed,) = rehearsal.of_file([server(*tls)])
    (kept,) = change(server(*tls), readable=("/c", "/k"))

    assert tls == kept.block
    assert [("ssl_certificate", ("/c",)), ("ssl_reject_handshake", ("on",))] == [
        (item.name, item.args) for item in changed.block or ()
    ]
    assert ["/k"] == rehearsal.unread


def test_a_part_gets_a_file_round_it() -> None:
    """With the blocks that nginx insists on."""
    changed = Rehearsal("/t", lambda _: True).of_part([server()])

    assert ["pid", "error_log", "events", "http"] == [item.name for item in changed]
    assert server() == (changed[3].block or ())[-1]
