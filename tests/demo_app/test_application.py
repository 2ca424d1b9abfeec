"""The factory, its option, and what an import of the package may do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.options import options
from tornado.testing import bind_unused_port
from tornado.web import Application

from demo_app import make_app

Serve = Callable[[Application], str]

# Runs in a fresh interpreter. What Tornado itself does at import is not judged here, so it is
# loaded before the watch begins. The import system opens code; that is not judged either.
IMPORT_WATCH = """
import json, sys, threading
import tornado.httpclient, tornado.httpserver, tornado.options, tornado.web, tornado.websocket
import tornado_multi

seen = []

def watch(event, args):
    opens_data = event == "open" and not str(args[0]).endswith((".py", ".pyc", ".so"))
    if opens_data or event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn")):
        seen.append([event, str(args[0])])

sys.addaudithook(watch)
import demo_app
print(json.dumps({"seen": seen, "threads": threading.active_count()}))
"""


@pytest.fixture
def serve(io_loop: IOLoop) -> Iterator[Serve]:
    """Serve an application on a port of its own; gives the address to put before a path."""
    servers: list[HTTPServer] = []

    def serve(app: Application) -> str:
        listener, port = bind_unused_port()
        server = HTTPServer(app)
        server.add_socket(listener)
        servers.append(server)
        return f"http://127.0.0.1:{port}"

    yield serve
    for server in servers:
        server.stop()
        io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def restored_options() -> Iterator[None]:
    """Put the option back to its default after the test."""
    yield
    options.debug = False


async def status_of(address: str) -> int:
    """Return the status that a GET of *address* is answered with."""
    return (await AsyncHTTPClient().fetch(address, raise_error=False)).code


def test_importing_the_package_opens_and_starts_nothing() -> None:
    """An import opens no file but code, makes no socket and no process, and starts no thread."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    # -B: the first import in a fresh clone would write bytecode, which is not judged either.
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_WATCH],
        capture_output=True,
        check=False,
        env=environment,
        text=True,
        timeout=30,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert {"seen": [], "threads": 1} == json.loads(done.stdout)


@pytest.mark.gen_test
async def test_debug_is_off_unless_asked_for(serve: Serve) -> None:
    """make_app() needs no arguments, and mounts nothing that is for development only."""
    address = serve(make_app())

    assert 200 == await status_of(f"{address}/whoami")
    assert 404 == await status_of(f"{address}/block?seconds=0")


@pytest.mark.usefixtures("restored_options")
@pytest.mark.gen_test
async def test_debug_is_an_option_of_the_command_line(serve: Serve) -> None:
    """--debug among the arguments of the app mounts /block."""
    options.parse_command_line(["demo_app", "--debug"], final=False)
    address = serve(make_app())

    assert 200 == await status_of(f"{address}/block?seconds=0")


@pytest.mark.usefixtures("restored_options")
@pytest.mark.gen_test
async def test_the_argument_of_the_factory_outranks_the_option(serve: Serve) -> None:
    """make_app(debug=False) mounts no /block, whatever the command line says."""
    options.debug = True
    address = serve(make_app(debug=False))

    assert 404 == await status_of(f"{address}/block?seconds=0")


@pytest.mark.parametrize("debug", [False, True])
def test_autoreload_is_never_switched_on(app: Application) -> None:
    """Neither debug nor autoreload is among the settings that Tornado sees."""
    assert not app.settings.get("debug")
    assert not app.settings.get("autoreload")


@pytest.mark.gen_test
async def test_each_application_has_its_own_memory(serve: Serve) -> None:
    """An account posted to one application is unknown to the next."""
    first, second = serve(make_app()), serve(make_app())
    client = AsyncHTTPClient()

    posted = await client.fetch(f"{first}/api/accounts", method="POST", body='{"owner": "Barbara"}')
    path = posted.headers["Location"]

    assert 200 == await status_of(first + path)
    assert 404 == await status_of(second + path)
