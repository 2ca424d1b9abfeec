"""The demo app and the demonstrations of Dubbo: whose reply is whose, with four workers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.account_load import ask_for_accounts
from support.cluster import REPOSITORY
from support.java_providers import MODULES
from support.programs import require_program
from support.waiting import eventually

from tornado_multi.testing.dubbo import DIALECTS, DubboProvider, Faults
from tornado_multi.testing.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster
    from support.java_providers import JavaProvider

pytestmark = pytest.mark.process

REAL_CALLS = int(os.environ.get("DUBBO_CALLS", "1000"))
"""``make soak`` has more."""
PAIR = re.compile(r"^sent (\d+) got (\S+) (right|WRONG)$", re.MULTILINE)


def verdicts(text: str) -> Counter[str]:
    """Count the pairs in a log, and look whether each verdict is true."""
    pairs = PAIR.findall(text)
    assert all((sent == got) is (said == "right") for sent, got, said in pairs)
    return Counter(said for _, _, said in pairs)


def bench(port: int) -> None:
    """Twenty requests, ten at once."""
    subprocess.run(
        ["ab", "-n", "20", "-c", "10", f"http://127.0.0.1:{port}/"], check=True, capture_output=True
    )


@contextmanager
def naive(environment: dict[str, str], log: Path) -> Iterator[int]:
    """Run the app with the bug as Tornado alone forks it; gives its port."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo_app.naive_dubbo", "0"],
            cwd=REPOSITORY, env={**os.environ, **environment}, stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip
    try:
        said = eventually(lambda: re.search(r"listening .*:(\d+)\n", log.read_text()))
        yield int(said[1])
    finally:
        os.killpg(process.pid, 15)  # its workers would outlive it
        process.wait()


def test_one_shared_connection_mixes_replies_up_and_one_per_process_does_not(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """``ab -n 20 -c 10`` shows it: the same provider, the same four workers."""
    require_program("ab", "apache2-utils")
    log = tmp_path / "naive.log"
    with DubboProvider(faults=Faults(delay_s=(0.0, 0.005))) as provider:
        environment = {"DUBBO": provider.address}
        with naive(environment, log) as port:
            bench(port)
        wrong = verdicts(log.read_text())
        made = cluster(
            "demo_app.dubbo_per_process:make_app",
            workers=4,
            environment=environment,
            chdir=REPOSITORY,
        )
        for count in range(1, 6):
            bench(made.port())
            eventually(lambda count=count: verdicts(made.output()).total() == 20 * count)

    assert 20 == wrong.total()
    assert 3 <= wrong["WRONG"]
    assert {"right": 100} == verdicts(made.output())
    eventually(lambda: provider.connections == 0)


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "count"), [("dubbo", 20_000), ("telnet", 4_000)])
def test_every_account_is_the_one_that_was_asked_for(
    cluster: StartCluster, protocol: str, count: int
) -> None:
    """50 connections, 4 workers; the provider is late at random and sends in pieces."""
    faults = Faults(delay_s=(0.0, 0.003), split="random")
    with DubboProvider(dialect=DIALECTS["2.6.12"], faults=faults) as provider:
        made = cluster(
            "demo_app:make_app", workers=4, chdir=REPOSITORY,
            app_arguments=[f"--dubbo={provider.address}", f"--dubbo-protocol={protocol}"],
        )  # fmt: skip
        found = asyncio.run(ask_for_accounts(made.port(), 50, count))
        accepted = provider.accepted

    assert {"right": count} == found
    assert (4 if protocol == "dubbo" else 40) >= accepted


@pytest.mark.slow
@pytest.mark.parametrize("java_provider", MODULES, indirect=True)
@pytest.mark.parametrize("protocol", ["dubbo", "text"])
def test_every_account_of_a_real_provider_is_the_one_that_was_asked_for(
    cluster: StartCluster, java_provider: JavaProvider, protocol: str
) -> None:
    """50 connections, 4 workers, all in the network of the provider."""
    network, port = java_provider.network, java_provider.port
    if protocol == "text":
        protocol = "qos" if java_provider.dubbo == "3.3.6" else "telnet"
        port = java_provider.qos_port if protocol == "qos" else port
    made = cluster(
        "demo_app:make_app", workers=4, chdir=REPOSITORY, wrapper=network.entering([]),
        app_arguments=[f"--dubbo={java_provider.host}:{port}", f"--dubbo-protocol={protocol}"],
    )  # fmt: skip
    served = made.port()
    found = network.run_async(
        lambda: ask_for_accounts(served, 50, REAL_CALLS, owner="客户"), within_s=600
    )

    assert {"right": REAL_CALLS} == found


def test_an_account_service_that_can_not_be_asked_is_said(cluster: StartCluster) -> None:
    """503 if it is not there, and the worker serves on; then it comes, and is asked."""
    provider = DubboProvider()
    provider.start()
    provider.stop()
    made = cluster(
        "demo_app:make_app", workers=1, chdir=REPOSITORY,
        app_arguments=[f"--dubbo={provider.address}"],
    )  # fmt: skip
    url = f"http://127.0.0.1:{made.port()}/account/7"
    refused = fetch(url, headers={}, timeout_s=30)
    assert 503 == refused.status
    assert "UnreachableError" in json.loads(refused.body)["error"]
    with provider:
        answer = eventually(
            lambda: (got := fetch(url, headers={}, timeout_s=30)).status == 200 and got
        )
        assert "Owner 7" == json.loads(answer.body)["account"]["name"]
    assert 400 == fetch(f"{url}x", headers={}, timeout_s=30).status
