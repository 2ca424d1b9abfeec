"""What lint finds in configurations that differ in one thing from one that is clean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.nginx_examples import EXAMPLES, example, pairwise

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.generate import configuration
from tornado_multi.deploy.nginx.lint import lint, passes_requests
from tornado_multi.deploy.nginx.linting.kinds import KINDS, Finding, Severity
from tornado_multi.deploy.nginx.linting.scopes import Scope
from tornado_multi.deploy.nginx.reading import read
from tornado_multi.deploy.nginx.tree import Directive
from tornado_multi.deploy.nginx.versions import Nginx, Version
from tornado_multi.settings.model import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tornado_multi.deploy.nginx.plan import Plan

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
CLEAN = (HERE / "clean.conf").read_text(encoding="utf-8")
GUIDE = (HERE / "tornado_guide.conf").read_text(encoding="utf-8")
OLD = (1, 22, 1)
NEW = (1, 29, 7)

Changes = tuple[tuple[str, str], ...]

# Kind of the only findings, and what is replaced in the clean configuration.
ONE_THING: list[tuple[str, Changes]] = [
    ("max-fails", ((" max_fails=0", ""),)),
    ("max-fails", (("8001 max_fails=0", "8001 max_fails=3"),)),
    ("max-fails", (("127.0.0.1:8001 max_fails=0", "unix:/run/shop/0.sock"),)),
    ("no-zone", (("zone app 128k;", ""),)),
    ("no-keepalive", (("keepalive 32;", ""),)),
    ("keepalive-timeout", (("keepalive_timeout 30s", "keepalive_timeout 75s"),)),
    ("keepalive-timeout", (("keepalive_timeout 30s", "keepalive_timeout 2m"),)),
    ("connection-close", (("'' '';", "'' close;"),)),
    ("connection-close", (("'' '';", ""), ("default upgrade", "default close; websocket upgrade"))),
    (
        "resolved-once",
        (("server 127.0.0.1:8001", "server app1:8001"), ("127.0.0.1:8002", "app2:8002")),
    ),
    ("resolved-once", (("location / {", "location /other { proxy_pass http://other:80; } location / {"),)),
    (
        "connect-timeout",
        (("127.0.0.1:8001", "10.0.0.1:8001"), ("proxy_connect_timeout 2s;", "")),
    ),
    ("retry-non-idempotent", (("error timeout;", "error timeout non_idempotent;"),)),
    ("retry-unbuffered", (("proxy_connect_timeout", "proxy_request_buffering off; proxy_connect_timeout"),)),
    (
        "no-websockets",
        (
            ("proxy_set_header Upgrade $http_upgrade;", ""),
            ("worker_shutdown_timeout 60s;", ""),
            ("location /stream/", "location /more/"),
        ),
    ),
    ("broken-websockets", (("proxy_set_header Connection $tornado_connection;", 'proxy_set_header Connection "";'),)),
    ("no-host", (("proxy_set_header Host $host;", ""),)),
    ("no-host", (("Host $host", "Host $proxy_host"),)),
    ("any-host", (("Host $host", "Host $http_host"),)),
    ("no-port", (("listen 80;", "listen 8080;"), ("listen 80 ", "listen 8080 "))),
    (
        "no-client-address",
        (
            ("proxy_set_header X-Real-IP $remote_addr;", ""),
            ("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", ""),
        ),
    ),
    ("client-address-forged", (("proxy_set_header X-Real-IP $remote_addr;", ""),)),
    ("no-scheme", (("proxy_set_header X-Forwarded-Proto $scheme;", ""),)),
    ("lost-add-headers", (("alias", "add_header Cache-Control public; alias"),)),
    ("body-size", (("client_max_body_size 100m;", ""),)),
    ("body-size", (("100m", "50M"),)),
    ("body-size-above", (("100m", "0"),)),
    ("body-size-above", (("100m", "1g"),)),
    ("read-timeout", (("proxy_read_timeout 1h;", ""),)),
    ("read-timeout", (("proxy_read_timeout 1h;", "proxy_read_timeout 30;"),)),
    ("buffered-stream", (("proxy_read_timeout 1h;", "proxy_read_timeout 1h; proxy_buffering on;"),)),
    ("gzip-stream", (("application/json", "text/event-stream"),)),
    ("gzip-stream", (("text/css application/json", "*"),)),
    ("query-string-expires", (("alias", "if ($query_string) { expires max; } alias"),)),
    ("static-through-app", (("alias /srv/shop/static/;", "proxy_pass http://app;"),)),
    ("worker-shutdown-timeout", (("worker_shutdown_timeout 60s;", ""),)),
    ("no-default-server", ((" default_server", ""), ("return 444;", "server_name other.test; proxy_pass_header Server;"), ("listen 80;\n", "listen 80 default_server;\n"))),
    ("server-tokens", (("server_tokens off;", ""),)),
    ("server-tokens", (("server_tokens off;", "server_tokens on;"),)),
]  # fmt: skip

# Changes that are no reason to say anything.
NO_MATTER: list[Changes] = [
    (("server 127.0.0.1:8002 max_fails=0;", ""), (" max_fails=0", "")),
    (("127.0.0.1:8002 max_fails=0", "127.0.0.1:8002 down"),),
    (("worker_processes auto;", "worker_processes 1;"), ("zone app 128k;", "")),
    (("'' '';", '"" "";'),),
    (("proxy_set_header Connection", "proxy_set_header CONNECTION"),),
    (("Host $host", "Host $host:$server_port"), ("listen 80", "listen 8080")),
    (("Host $host", "Host ${host}"),),
    (("Host $host", "Host shop.test"),),
    (("listen 80;", "listen 443 ssl;"),("listen 80 ", "listen 443 ssl ")),
    (("listen 80;", "listen 127.0.0.1:8080;"),),
    (("X-Forwarded-Proto $scheme", "X-Scheme $scheme"),),
    (("127.0.0.1:8001", "10.0.0.1:8001"), ("127.0.0.1:8002", "10.0.0.2:8002")),
    (("client_max_body_size 100m;", ""), ("gzip on;", "gzip on; client_max_body_size 102400k;")),
    (("gzip on;", "gzip off;"), ("application/json", "text/event-stream")),
    (("proxy_read_timeout 1h;", "proxy_read_timeout 1h; gzip off;"), ("application/json", "*")),
    (("proxy_read_timeout 1h;", "proxy_read_timeout 1h; proxy_buffering off;"),),
    (("proxy_read_timeout 1h;", ""), ("/stream/", "/streamers/")),
    (("location / {", "location /up/ { proxy_request_buffering off; proxy_pass http://app; } location / {"),),
    (("proxy_pass http://app;", "proxy_pass http://APP$request_uri;"),),
    (("location / {", "location /a { proxy_pass http://$host; } location /b { proxy_pass http://app-$arg_b; } location / {"),),
    (("location / {", "location /api { fastcgi_pass 127.0.0.1:9000; } location / {"),),
    (("location / {", "location /maps/ { proxy_set_header Host maps.test; proxy_pass https://maps.example.org/; } location / {"),),
    (("location / {", "location /up/ { set $to http://elsewhere.example.org; proxy_pass $to; } location / {"),),
    (("alias", "add_header Cache-Control public; add_header X-Frame-Options DENY; alias"),),
    (("alias", "if ($args) { return 404; } alias"),),
    (("location / {", "location / { location /in/ { proxy_pass http://app/other/; }"),),
    (("location / {", "location / { if ($request_method = POST) { proxy_pass http://app; }"),),
]  # fmt: skip


def changed(changes: Changes) -> str:
    text = CLEAN
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def findings(text: str, **given: object) -> tuple[Finding, ...]:
    version = given.pop("nginx", OLD)
    nginx = Nginx(Version(*version)) if version else None  # type: ignore[misc]
    return lint(read(text, "nginx.conf"), nginx=nginx, **given)  # type: ignore[arg-type]


def kinds(text: str, **given: object) -> set[str]:
    return {one.kind for one in findings(text, **given)}


@pytest.mark.parametrize("version", [None, OLD, (1, 25, 1), NEW, (1, 31, 0)])
def test_the_clean_one_is_clean(version: tuple[int, ...] | None) -> None:
    """A configuration with all that an app needs is found clean, whatever nginx reads it."""
    assert () == findings(CLEAN, nginx=version)


@pytest.mark.parametrize(("kind", "changes"), ONE_THING)
def test_one_thing_amiss_is_one_kind_of_finding(kind: str, changes: Changes) -> None:
    """What is missing or wrong is named by its kind, and nothing else is."""
    found = findings(changed(changes))

    assert {kind} == {one.kind for one in found}
    assert all(one.line > 0 and one.file == "nginx.conf" for one in found)


@pytest.mark.parametrize("changes", NO_MATTER)
def test_what_does_no_harm_is_not_mentioned(changes: Changes) -> None:
    """Another spelling, another server that is no app, a limit set elsewhere: all that is no finding."""
    assert set() == kinds(changed(changes))


def test_every_kind_has_a_case() -> None:
    """No kind is without a configuration that shows it."""
    elsewhere = {"keepalive-unused", "lost-headers", "listen-http2"}

    assert set(KINDS) == {kind for kind, _ in ONE_THING} | elsewhere


def test_the_guide_of_tornado_is_told_what_it_lacks() -> None:
    """The configuration that Tornado's guide shows: failures, websockets, Host and body size."""
    found = kinds(GUIDE)

    assert {"max-fails", "no-websockets", "any-host", "body-size", "query-string-expires"} <= found
    assert "max-fails" in {one.kind for one in findings(GUIDE) if one.severity is Severity.ERROR}


def test_the_place_is_the_line_to_change() -> None:
    """A finding stands at the directive that is to be changed or, if one is missing, where it is missed."""
    lines = GUIDE.splitlines()
    places = {one.kind: lines[one.line - 1].strip() for one in findings(GUIDE)}

    assert "server 127.0.0.1:8000;" == places["max-fails"]
    assert "client_max_body_size 50M;" == places["body-size"]
    assert "proxy_set_header Host $http_host;" == places["any-host"]
    assert "proxy_pass http://frontends;" == places["no-websockets"]
    assert "upstream frontends {" == places["no-keepalive"]


def test_a_header_of_its_own_costs_a_location_all_others() -> None:
    """A location with a proxy_set_header of its own loses those above; losing Host is an error."""
    found = findings(
        changed(
            (("proxy_read_timeout 1h;", "proxy_read_timeout 1h; proxy_set_header X-Part stream;"),)
        )
    )
    lost = [one for one in found if one.kind == "lost-headers"]

    assert ["location /stream/ loses Host, X-Real-IP, X-Forwarded-For, X-Forwarded-Proto"] == [
        one.what for one in lost
    ]
    assert [Severity.ERROR] == [one.severity for one in lost]
    assert set() == {one.kind for one in found} & {"no-host", "no-client-address", "no-scheme"}


def test_keepalive_needs_http_1_1_and_a_header_before_1_29_7() -> None:
    """Without them connections are not kept; later versions do both by themselves."""
    text = changed((("proxy_http_version 1.1;", ""),))
    bare = changed((("proxy_set_header Connection $tornado_connection;", ""),))

    assert {"keepalive-unused", "broken-websockets"} == kinds(text)
    assert {"keepalive-unused", "broken-websockets"} == kinds(bare)
    assert set() == kinds(text, nginx=NEW)
    assert {"broken-websockets"} == kinds(bare, nginx=NEW)


def test_keepalive_is_the_default_from_1_29_7_on() -> None:
    """Then an upstream without the directive keeps connections, and its timeout counts."""
    text = changed((("keepalive 32;", ""),))

    assert set() == kinds(text, nginx=NEW)
    assert {"no-keepalive"} == kinds(text, nginx=(1, 29, 6))
    assert {"keepalive-timeout"} == kinds(text, nginx=NEW, http=HttpSettings(idle_timeout_s=20))


def test_the_words_of_listen_are_called_outdated_by_version() -> None:
    """The word http2 of listen is right before nginx 1.25.1."""
    text = changed((("listen 80;", "listen 443 ssl http2;"), ("listen 80 ", "listen 443 ssl ")))

    assert [set(), set(), {"listen-http2"}] == [
        kinds(text, nginx=version) for version in (None, (1, 25, 0), (1, 25, 1))
    ]


def test_a_missing_scheme_is_worse_where_tls_ends() -> None:
    """Without TLS the app guesses right by itself."""
    plain = (("proxy_set_header X-Forwarded-Proto $scheme;", ""),)
    tls = (*plain, ("listen 80;", "listen 443 ssl;"), ("listen 80 ", "listen 443 ssl "))

    assert [Severity.INFO] == [one.severity for one in findings(changed(plain))]
    assert [Severity.WARNING] == [one.severity for one in findings(changed(tls))]


@pytest.mark.parametrize(
    ("size", "kind"), [(1024**2, "body-size-above"), (100 * 1024**2, None), (2 * 1024**3, "body-size")]
)  # fmt: skip
def test_the_app_has_its_own_limit(size: int, kind: str | None) -> None:
    """client_max_body_size is held against the app's own limit, not against the default."""
    found = kinds(CLEAN, http=HttpSettings(max_body_size_bytes=size))

    assert ({kind} if kind else set()) == found


def test_many_locations_make_one_finding() -> None:
    """What a server lacks as a whole is told once, with the number of locations."""
    more = "".join(f"location /{name} {{ proxy_pass http://app; }}" for name in "abc")
    text = changed((("proxy_set_header Host $host;", ""), ("location / {", more + "location / {")))

    assert ["location /stream/ and 4 more: the client's Host is not passed on"] == [
        one.what for one in findings(text)
    ]


PART = """
upstream shop { server 127.0.0.1:8001 max_fails=0; server 127.0.0.1:8002 max_fails=0; zone shop 128k; keepalive 8; }
map $http_upgrade $to { default upgrade; '' ''; }
server {
    listen 80;
    client_max_body_size 100m;
    location / {
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $to;
        proxy_pass http://shop;
    }
}
"""


def test_a_part_is_not_blamed_for_what_the_rest_may_say() -> None:
    """Without an http block, workers, default server and version are not known, and not judged."""
    elsewhere = PART.partition("server {\n")[2].rpartition("}")[0]

    assert set() == kinds(PART)
    assert set() == kinds(f"server {{{elsewhere}}}"), "upstream and map in another file"
    assert set() == kinds(elsewhere), "what is included in a server"


def test_what_is_no_proxy_is_left_alone() -> None:
    """A site without proxy_pass has nothing to judge."""
    text = "http { server { listen 80; root /srv; location ~ \\.php$ { fastcgi_pass unix:/run/php.sock; } } }"

    assert () == findings(text)
    assert not passes_requests(read(text))
    assert passes_requests(read(CLEAN))


CHOSEN: dict[str, Callable[[Plan], bool]] = {
    "no-default-server": lambda plan: not plan.options.default_server,
    "no-keepalive": lambda plan: plan.options.upstream_keepalive == 0,
    "resolved-once": lambda plan: "app.example.net:80" in plan.options.server,
    "retry-non-idempotent": lambda plan: plan.options.retry == "non_idempotent",
}
"""Kinds that our own configurations have when an option asks for it."""


@pytest.mark.parametrize("version", ["1.22.1", "1.31.0"])
def test_what_we_generate_is_clean(version: str) -> None:
    """In configurations of ours nothing is found but what an option has asked for."""
    nginx = Nginx(Version.parse(version))
    plans = [*pairwise(nginx), *(example(name, version) for name in EXAMPLES)]
    amiss = []
    judged = 0
    for plan in plans:
        try:
            text = configuration(plan).text()
        except RefusedError:
            continue
        judged += passes_requests(read(text))
        found = {one.kind for one in lint(read(text), plan.settings.http, nginx=nginx)}
        amiss += [(kind, text) for kind in found if kind not in CHOSEN or not CHOSEN[kind](plan)]

    assert [] == amiss
    assert judged > 20


def test_the_simplest_example_has_no_finding_at_all() -> None:
    """What the command writes without further options is found clean."""
    text = (HERE / "golden" / "ports-1.22.1.conf").read_text(encoding="utf-8")

    assert () == findings(text)
    assert passes_requests(read(text))


def test_a_wide_block_is_looked_through_once() -> None:
    """Not once for each of the blocks in it: thousands of locations would take minutes."""
    looks = 0

    class Body(tuple[Directive, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[Directive]:
            nonlocal looks
            looks += 1
            return super().__iter__()

    server = Scope(Body(Directive("location", (f"/{number}",), ()) for number in range(9)))
    for location in [*server.nested()]:
        assert () == location.nearest("proxy_pass")

    assert 2 == looks, "for its locations, and for what holds in them"


def test_every_kind_has_its_row_in_the_docs() -> None:
    """The page of kinds is the table of kinds, sorted by word and name."""
    order = sorted(KINDS, key=lambda kind: (KINDS[kind].severity, kind))
    rows = [
        f"| `{kind}` | {KINDS[kind].severity.word} | {KINDS[kind].harm} | {KINDS[kind].mend} |"
        for kind in order
    ]
    page = (REPOSITORY / "docs/reference/nginx-lint.md").read_text(encoding="utf-8")

    assert rows == [line for line in page.splitlines() if line.startswith("| `")]
