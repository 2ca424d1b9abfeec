"""Counts what sharing by accident does: replies that were somebody else's, log lines that are lost.

    python -m demo_app.two_bugs [CALLS]

The same app is run three times, each with an account service and a directory of its own: forked by
Tornado alone, served by tornado_multi, and mended. Clients ask for accounts at random and compare
what they asked for with what they got. What was logged is counted in all files together.
"""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tornado.httpclient import AsyncHTTPClient, HTTPError

CALLS = 1000
"""One process alone keeps the lines of so many calls in its file and five older ones."""
CLIENTS = 16
"""Requests at the same time: four for each worker."""
MOST_ACCOUNTS = 1_000_000
"""So many that two calls rarely ask for the same one."""
SERVE = [
    *("-m", "tornado_multi", "serve", "--bind", "127.0.0.1:0", "--workers", "4"),
    *("--control", "control.sock"),
]
WAYS = {
    "forked by Tornado": ["-m", "demo_app.shared_by_accident", "0"],
    "served": [*SERVE, "demo_app.shared_by_accident:make_app"],
    "served and mended": [*SERVE, "demo_app.made_per_process:make_app"],
}
ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")
CALL = re.compile(r"call (\d+), account \d+$", re.MULTILINE)


def main() -> None:
    """Run all three and print one line for each."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    for way, arguments in WAYS.items():
        with tempfile.TemporaryDirectory() as directory:
            outcome = run(arguments, Path(directory), calls)
        print(
            f"{way + ':':<18} {outcome['wrong']} of {calls} replies were somebody else's, "
            f"{outcome['failed']} calls failed, {outcome['lost']} log lines are lost",
            flush=True,
        )


def run(arguments: list[str], directory: Path, calls: int) -> Counter[str]:
    """Return how many calls were ``right``, ``wrong`` and ``failed``, and lines that are ``lost``."""
    environment = {"CALLS_LOG_DIR": str(directory)}
    with program(["-m", "demo_app.account_service", "0"], directory, environment) as service_port:
        environment["ACCOUNT_SERVICE_PORT"] = str(service_port)
        with program(arguments, directory, environment) as port:
            outcome = asyncio.run(ask(port, calls))
    logged = {
        found for path in directory.glob("calls*log*") for found in CALL.findall(path.read_text())
    }
    answered = outcome["right"] + outcome["wrong"]
    outcome["lost"] = answered - len(logged)
    return outcome


@contextmanager
def program(arguments: list[str], directory: Path, environment: dict[str, str]) -> Iterator[int]:
    """Run a program in a directory until the end of the block; yields the port that it says."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, *arguments],
        cwd=directory,
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield read_port(process.stdout)
    finally:
        # Of the program forked by Tornado alone the signal ends only the first process, and its
        # children would serve on: so the whole group gets it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        process.stdout.read()  # until the last process has closed it
        process.stdout.close()


def read_port(output: IO[str]) -> int:
    """Return the port in the first line that names an address.

    Raises:
        RuntimeError: the program has ended without.
    """
    for line in output:
        if found := ADDRESS.search(line):
            return int(found[1])
    message = "a program has ended before it said where it listens; run it alone to see why"
    raise RuntimeError(message)


async def ask(port: int, calls: int) -> Counter[str]:
    """Ask for accounts at random, several at the same time, and compare."""
    client = AsyncHTTPClient(force_instance=True, max_clients=CLIENTS)
    numbers = iter(range(calls))
    outcome: Counter[str] = Counter()

    async def ask_in_turn() -> None:
        for number in numbers:
            account_id = random.randrange(MOST_ACCOUNTS)  # noqa: S311 - no secret
            url = f"http://127.0.0.1:{port}/accounts/{account_id}?call={number}"
            try:
                response = await client.fetch(url, request_timeout=60)
            except (HTTPError, OSError):
                outcome["failed"] += 1
                continue
            got = json.loads(response.body)["account_id"]
            outcome["right" if got == account_id else "wrong"] += 1

    await asyncio.gather(*(ask_in_turn() for _ in range(CLIENTS)))
    client.close()
    return outcome


if __name__ == "__main__":
    main()
