"""docker-compose.yml and what it needs, as the tools see it that would use them; no engine is here."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from ruamel.yaml import YAML
from support.cluster import REPOSITORY, is_listening
from support.instances import start_instances
from support.programs import require_program, require_tool
from support.waiting import eventually
from tornado.testing import bind_unused_port
from websockets.sync.client import connect
from websockets.typing import Origin

from tornado_multi.cli.commands import read_settings, split_app_arguments
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.supervisor.state import Limits
from tornado_multi.testing.dubbo.__main__ import make_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import StartCluster

    from tornado_multi.settings.model import Settings

pytestmark = pytest.mark.process

COMPOSE = REPOSITORY / "docker-compose.yml"
DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
CONFIG = REPOSITORY / "docker" / "tornado_multi.toml"
NGINX_CONF = REPOSITORY / "docker" / "nginx.conf"
SECONDS = re.compile(r"(\d+)s")


def run(*command: str, cwd: Path | None = None, within_s: float = 60) -> tuple[int, str]:
    """Return the exit code and all that was printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
        check=False,
    )
    return done.returncode, done.stdout


def services() -> dict[str, Any]:
    """Return the services with their merged keys."""
    found: dict[str, Any] = YAML(typ="safe").load(COMPOSE)["services"]
    return found


def seconds(text: str) -> int:
    found = SECONDS.fullmatch(text)
    assert found is not None, text
    return int(found[1])


def app_settings() -> Settings:
    own, _ = split_app_arguments(services()["app"]["command"][1:])
    return read_settings([*own, "--config", str(CONFIG)])


def with_scratch_paths(text: str, directory: Path) -> str:
    """Return the configuration with its writable paths below *directory*."""
    return text.replace("/tmp/", f"{directory}/").replace("/run/shop/", f"{directory}/")


# --- docker-compose.yml ---------------------------------------------------------------------------


def check_schema(file: Path) -> tuple[int, str]:
    return run(
        require_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)
    )


def test_the_compose_file_is_one() -> None:
    """Every key is one of the compose specification."""
    code, said = check_schema(COMPOSE)

    assert 0 == code, said


def test_the_schema_finds_a_mistake(tmp_path: Path) -> None:
    """A misspelt key is found, so that silence means something."""
    file = tmp_path / "docker-compose.yml"
    file.write_text(COMPOSE.read_text().replace("stop_grace_period", "stop_grace_perod", 1))
    code, said = check_schema(file)

    assert 1 == code
    assert "stop_grace_perod" in said


def test_every_service_is_watched_and_confined() -> None:
    """Each has a health check and an init, writes nothing but tmpfs, and may do nothing special."""
    for name, service in services().items():
        assert service["init"] is True, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "healthcheck" in service, name
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name


def test_a_service_waits_until_what_it_needs_is_well() -> None:
    """Whatever another one depends on is awaited by its health check."""
    found = services()
    awaited = {
        (name, needed): rule["condition"]
        for name, service in found.items()
        for needed, rule in service.get("depends_on", {}).items()
    }

    assert {("app", "redis"), ("app", "provider"), ("nginx", "app")} == awaited.keys()
    assert {"service_healthy"} == set(awaited.values())


def test_the_engine_waits_longer_than_a_drain() -> None:
    """The grace period of the app covers its drain, and that of nginx its own shutdown."""
    workers = app_settings().workers
    grace_s = Limits(workers.boot_timeout_s, workers.drain_timeout_s).kill_grace_s
    found = re.search(r"worker_shutdown_timeout (\d+)s;", NGINX_CONF.read_text())

    assert found is not None
    assert workers.drain_timeout_s == int(found[1])
    assert seconds(services()["app"]["stop_grace_period"]) > workers.drain_timeout_s + grace_s
    assert seconds(services()["nginx"]["stop_grace_period"]) > int(found[1])
    assert seconds(services()["app"]["healthcheck"]["start_period"]) >= workers.boot_timeout_s


def test_nginx_knows_the_sockets_of_the_instances() -> None:
    """Each instance has its line in the upstream, and both containers mount the directory there."""
    settings = app_settings()
    count = int(settings.instances.count)
    wanted = [settings.instances.bind_of(fork_id).partition("?")[0] for fork_id in range(count)]
    listed = re.findall(r"server (unix:\S+) max_fails=0;", NGINX_CONF.read_text())
    mounts = [services()[name]["volumes"] for name in ("app", "nginx")]

    assert wanted == listed
    assert all(any(mount.startswith("sockets:/run/shop") for mount in found) for found in mounts)
    assert "./docker:/srv/shop/docker:ro" in mounts[0]
    assert "./docker:/etc/nginx/shop:ro" in mounts[1]
    file = services()["app"]["environment"]["TORNADO_MULTI_CONFIG"]
    assert (REPOSITORY / file).samefile(CONFIG)
    assert f"/etc/nginx/shop/{NGINX_CONF.name}" in services()["nginx"]["command"]
    assert "/srv/shop" == last("WORKDIR")
    group = services()["app"]["user"].split(":")[1]
    assert group == services()["nginx"]["user"].split(":")[1]
    assert settings.proxy.xheaders


def test_bodies_and_idle_connections_fit() -> None:
    """Bodies that the app takes pass nginx, which closes idle connections to the app first."""
    text = NGINX_CONF.read_text()
    http = app_settings().http

    assert f"client_max_body_size {http.max_body_size_bytes // 2**20}m;" in text
    found = re.search(r"keepalive 32;.*?keepalive_timeout (\d+)s;", text, re.DOTALL)
    assert found is not None
    assert int(found[1]) < http.idle_timeout_s


def test_the_provider_is_where_the_app_looks_for_it() -> None:
    """The provider listens for other containers, on the port that the app is told."""
    command = services()["provider"]["command"]
    chosen = make_parser().parse_args(command[3:])

    assert ["python", "-m", "tornado_multi.testing.dubbo"] == command[:3]
    assert "0.0.0.0" == chosen.host
    assert f"--dubbo=provider:{chosen.port}" in services()["app"]["command"]


# --- nginx.conf -----------------------------------------------------------------------------------


def test_nginx_s_configuration_is_what_the_generator_writes() -> None:
    """The file is the output of the command that the configuration file names, to the byte."""
    command = [sys.executable, "-m", "tornado_multi", "nginx", "--config", str(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert 0 == done.returncode, done.stderr
    assert NGINX_CONF.read_text() == done.stdout


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    """``nginx -t`` has nothing to say against it."""
    program = require_program("nginx", "nginx")
    file = tmp_path / "nginx.conf"
    file.write_text(with_scratch_paths(NGINX_CONF.read_text(), tmp_path))
    code, said = run(program, "-t", "-p", str(tmp_path), "-c", str(file))

    assert 0 == code, said
    assert not re.search(r"\[(warn|error|emerg)\]", said), said


@contextlib.contextmanager
def nginx_of_the_compose_file(directory: Path) -> Iterator[int]:
    """Run nginx with its configuration, on a free port of 127.0.0.1. Yields the port."""
    probe, port = bind_unused_port(address="127.0.0.1")
    probe.close()
    text = with_scratch_paths(NGINX_CONF.read_text(), directory)
    text = text.replace("/srv/static/", f"{REPOSITORY}/demo_app/static/")
    text = text.replace("listen 0.0.0.0:8080", f"listen 127.0.0.1:{port}")
    text = text.replace("$host:8080", f"$host:{port}")
    if os.geteuid() == 0:  # whose sockets and static files they are
        text = text.replace("user www-data;", "user root;")
    file = directory / "nginx.conf"
    file.write_text(f"daemon off;\n{text}")
    program = require_program("nginx", "nginx")
    with (directory / "nginx-output").open("wb") as output:
        process = subprocess.Popen(
            [program, "-p", str(directory), "-c", str(file)], stdout=output, stderr=output
        )
    try:
        eventually(lambda: process.poll() is not None or is_listening(port))
        assert process.poll() is None, (directory / "nginx-output").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(30)


def test_nginx_serves_the_demo_app_with_its_configuration(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Pages, static files, websockets, an event stream and nginx's own health go through it."""
    count = int(app_settings().instances.count)
    start_instances(cluster, count, "--xheaders", unix_dir=tmp_path, app="demo_app:make_app")
    with nginx_of_the_compose_file(tmp_path) as port:
        host = {"Host": f"localhost:{port}"}
        own = f"http://localhost:{port}"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=host) as client:
            page = client.get("/")
            static = client.get("/static/style.css", params={"v": "1"})
            unversioned = client.get("/static/style.css")
            with client.stream("GET", "/events") as stream:
                first_event = next(line for line in stream.iter_lines() if line)
        transport = httpx.HTTPTransport(uds=str(tmp_path / "nginx-private.sock"))
        with httpx.Client(transport=transport) as client:
            health = client.get("http://localhost/status")
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            connect(f"ws://localhost:{port}/chat", sock=raw, origin=Origin(own)) as chat,
        ):
            greeted = chat.recv(timeout=30)
        foreign = b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(foreign)
            nothing = raw.recv(100)

    assert 200 == page.status_code
    assert 200 == static.status_code
    assert "max-age=315360000" == static.headers["cache-control"]
    assert "cache-control" not in unversioned.headers
    assert first_event
    assert greeted
    assert 200 == health.status_code
    assert b"" == nothing


# --- Dockerfile -----------------------------------------------------------------------------------


def instructions() -> Iterator[tuple[str, str]]:
    """Yield each instruction with its arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, arguments = line.strip().partition(" ")
            yield word, arguments.strip()


def last(word: str) -> str:
    return [arguments for found, arguments in instructions() if found == word][-1]


def test_hadolint_finds_nothing() -> None:
    """The linter of Dockerfiles has nothing to say."""
    code, said = run(require_tool("hadolint"), str(DOCKERFILE))

    assert (0, "") == (code, said)


def test_hadolint_finds_a_mistake(tmp_path: Path) -> None:
    """A command in the form of a shell line is found, so that silence means something."""
    file = tmp_path / "Dockerfile"
    file.write_text(re.sub(r"\nCMD \[.*\n", "\nCMD tornado-multi\n", DOCKERFILE.read_text()))
    code, said = run(require_tool("hadolint"), str(file))

    assert 1 == code
    assert "DL3025" in said


def test_the_image_is_that_of_a_careful_operator() -> None:
    """Not root, no shell before the supervisor, TERM, and a health check of our own."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))
    assert "SIGTERM" == last("STOPSIGNAL")
    assert last("CMD").startswith("[")
    assert '["tornado-multi", "status", "--check"]' in last("HEALTHCHECK")
    assert "curl" not in DOCKERFILE.read_text()


@pytest.mark.slow
def test_the_steps_of_the_image_work(tmp_path: Path) -> None:
    """Done by hand in an empty directory, they lead to a service that serves and reports health."""
    context, image = REPOSITORY, tmp_path / "image"
    image.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    environment.pop("VIRTUAL_ENV", None)

    def within(text: str) -> str:
        return re.sub(r"(?<![\w./-])/(?=opt/|src\b|srv/)", f"{image}/", text)

    workdir = image
    for word, arguments in instructions():
        match word:
            case "WORKDIR":
                workdir = Path(within(arguments))
                workdir.mkdir(parents=True, exist_ok=True)
            case "COPY" if not arguments.startswith("--from="):
                *sources, target = arguments.split()
                _copy([context / source for source in sources], workdir / target)
            case "RUN":
                done = subprocess.run(
                    ["sh", "-ec", within(arguments)],
                    cwd=workdir,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=300,
                    check=False,
                )
                assert done.returncode == 0, done.stdout + done.stderr
            case "ENV":
                name, _, value = arguments.partition("=")
                environment[name] = within(value).replace("$PATH", environment["PATH"])
    program = shutil.which("tornado-multi", path=environment["PATH"])
    assert program is not None
    assert Path(program).is_relative_to(image)
    _serves_and_is_well(program, workdir, environment)


def _copy(sources: list[Path], target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for source in sources:
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy(source, target)


def _serves_and_is_well(program: str, workdir: Path, environment: dict[str, str]) -> None:
    """Start the image's command, ask for its health as the image does, and stop it."""
    command = [*shlex.split(last("CMD").strip("[]").replace(",", " "))]
    command[0] = program
    command[command.index("0.0.0.0:8888")] = "127.0.0.1:0"
    check = shlex.split(last("HEALTHCHECK").partition("CMD")[2].strip(" []").replace(",", " "))

    def health() -> int:
        return subprocess.run(
            [program, *check[1:]], cwd=workdir, env=environment, capture_output=True, check=False
        ).returncode

    assert ExitCode.NO_SUPERVISOR == health()
    with subprocess.Popen(
        command, cwd=workdir, env=environment, stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            begun = [line for _, line in zip(range(5), service.stdout, strict=False)]
            assert 5 == len(begun), begun
            assert ExitCode.DONE == health()
        finally:
            service.terminate()
    assert ExitCode.DONE == service.returncode
