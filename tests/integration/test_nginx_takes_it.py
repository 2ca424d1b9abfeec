"""What is written for nginx, judged by nginx itself and by two programs that look for mistakes."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest
from support.cluster import REPOSITORY
from support.nginx_examples import EXAMPLES, OPTIONS, example, pairwise
from support.nginx_examples import plan as make_plan
from support.nginx_server import running_nginx
from support.programs import require_built, require_program

from tornado_multi.deploy.nginx.generate import configuration
from tornado_multi.deploy.nginx.program import find_program, rehearse
from tornado_multi.deploy.nginx.tree import Directive
from tornado_multi.deploy.nginx.writing import render
from tornado_multi.settings.model import InstanceSettings, Settings
from tornado_multi.settings.nginx import NginxSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tornado_multi.deploy.nginx.plan import Plan
    from tornado_multi.deploy.nginx.program import Program

pytestmark = pytest.mark.process
LETTERS = "ab/ .~*\"'\\\\;{}#nrt=ä€"
AUDITORS = {
    "gixy-ng": (".venv-gixy-ng/bin/gixy", "make .venv-gixy-ng/.installed"),
    "gixy-next": (".venv-gixy-next/bin/gixy-next", "make .venv-gixy-next/.installed"),
}


@pytest.fixture(scope="module")
def program() -> Program:
    return find_program(require_program("nginx", "nginx"))


def test_nginx_takes_every_pair_of_options(program: Program) -> None:
    """Each two options with each two of their values, as a whole file and as parts."""
    plans = pairwise(program.nginx)
    for plan in plans:
        whole = configuration(plan)
        parts = [configuration(plan, part).directives for part in ("upstream", "server")]
        for tested, text in (
            (rehearse(program, whole.directives, is_part=False), whole.text()),
            (rehearse(program, (*parts[0], *parts[1]), is_part=True), render(parts[1])),
        ):
            assert tested.problem is None, f"{tested.problem}\n{text}"
            assert () == tested.warnings, text

    assert len(plans) >= max(len(values) for values in OPTIONS.values()) ** 2


@pytest.mark.parametrize(
    ("app", "count", "name"),
    [
        ("shop:a", "2000", "shop.example.com"),
        (f"{'long_' * 12}name:a", "1", "shop.example.com"),
        ("shop:a", "1", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}"),
    ],
)
def test_nginx_has_room_for_what_is_large(
    program: Program, app: str, count: str, name: str
) -> None:
    """Many servers, a long name of the service, a long name of the host."""
    settings = Settings(app=app, instances=InstanceSettings(count=count, first_port=8001))
    options = NginxSettings(server_name=(name,), static=("/static/=/srv",), rate_limit="5r/s")
    large = make_plan(settings, options, program.nginx)

    tested = rehearse(program, configuration(large).directives, is_part=False)
    assert (None, ()) == (tested.problem, tested.warnings)


def test_a_test_does_not_touch_the_machine(program: Program, tmp_path: Path) -> None:
    """Sockets, logs and pid files of the settings are neither made nor removed."""
    plan = example("everything", str(program.nginx.version))
    kept = tmp_path / "private.sock"
    kept.write_text("")
    options = dataclasses.replace(
        plan.options,
        private_listen=f"unix:{kept}",
        error_log=str(tmp_path / "error.log"),
        access_log=str(tmp_path / "access.log"),
        nginx_pid_file=str(tmp_path / "pid"),
        include=(),
    )
    made = configuration(dataclasses.replace(plan, options=options))
    tested = rehearse(program, made.directives, is_part=False)

    assert tested.problem is None
    assert ("/etc/shop/tls.pem", "/etc/shop/tls.key") == tested.unread
    assert ["private.sock"] == [path.name for path in tmp_path.iterdir()]


def test_a_test_finds_what_is_wrong(program: Program) -> None:
    """In nginx's words, without the place of the test."""
    broken = (Directive("events", (), ()), Directive("http", (), (Directive("no_such_thing"),)))

    assert rehearse(program, broken, is_part=False).problem == (
        'unknown directive "no_such_thing" in nginx.conf:9'
    )


def test_a_warning_of_nginx_is_told(program: Program) -> None:
    """Two servers of one name, say, of which it takes the first."""
    server = Directive(
        "server", (), (Directive("listen", ("80",)), Directive("server_name", ("a.example.com",)))
    )
    tested = rehearse(program, (server, server), is_part=True)

    assert tested.problem is None
    assert 1 == len(tested.warnings)
    assert tested.warnings[0].startswith('conflicting server name "a.example.com"')


def texts() -> list[str]:
    """Return 400 texts of letters that mean something to nginx, the same at each run."""
    chance = random.Random(8)
    found = ["", *LETTERS, "\\n", "\\\\", '\\"', "a\\", "'", '"', "}", "a b;c"]
    while len(found) < 400:
        found.append("".join(chance.choices(LETTERS, k=chance.randrange(1, 12))))
    return found


def test_nginx_reads_what_was_written(tmp_path: Path) -> None:
    """Any text between quotes comes out of nginx letter by letter."""
    wanted = texts()
    places = [
        Directive(
            "location",
            ("=", f"/{number}"),
            (Directive("default_type", ("text/plain",)), Directive("return", ("200", text))),
        )
        for number, text in enumerate(wanted)
    ]
    socket = tmp_path / "http.sock"
    server = Directive("server", (), (Directive("listen", (f"unix:{socket}",)), *places))
    with running_nginx(render([server]), tmp_path / "nginx"):
        client = httpx.Client(transport=httpx.HTTPTransport(uds=os.fspath(socket)))
        with client:
            got = [client.get(f"http://localhost/{number}").text for number in range(len(wanted))]

    assert wanted == got


def asked_for(plan: Plan) -> dict[str, str]:
    """Return findings that the settings ask for, and why we don't refuse them."""
    expected = {}
    if plan.options.hsts_max_age_s == 0:
        expected["hsts_header"] = "whoever can't promise https for two years may say so"
    if any(peer.address[0].isalpha() and "." in peer.address for peer in plan.peers):
        why = "a name of another machine is looked up once; a note says so"
        expected |= dict.fromkeys(("missing_resolver", "stale_dns_cache"), why)
    return expected


@pytest.mark.parametrize("auditor", AUDITORS)
def test_auditors_find_nothing(auditor: str, tmp_path: Path, program: Program) -> None:
    """In the documented examples for old and new, and in each combination of the cover, but what was asked for."""
    path = require_built(REPOSITORY / AUDITORS[auditor][0], AUDITORS[auditor][1])
    plans = [example(name, version) for name in EXAMPLES for version in ("1.22.1", "1.31.0")]
    plans += pairwise(program.nginx)
    expected, files = {}, []
    for number, plan in enumerate(plans):
        # A file that is not there stops them.
        options = dataclasses.replace(plan.options, include=())
        file = tmp_path / f"{number}.conf"
        file.write_text(configuration(dataclasses.replace(plan, options=options)).text())
        files.append(str(file))
        expected[str(file)] = set(asked_for(plan))
    done = subprocess.run(
        [path, "-f", "json", *files], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    found = json.loads(done.stdout or "null")

    assert [] == [item for item in found if item["plugin"] not in expected[item["path"]]]
    assert {item["path"] for item in found} <= set(files)


def test_the_auditors_do_look(tmp_path: Path) -> None:
    """A configuration with a known mistake is found out by both: silence means something."""
    file = tmp_path / "nginx.conf"
    file.write_text(
        "http { server { location / { proxy_set_header Host $http_host; proxy_pass http://a; } } }"
    )
    for path, how in AUDITORS.values():
        done = subprocess.run(
            [require_built(REPOSITORY / path, how), "-f", "json", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )

        assert "host_spoofing" in done.stdout
