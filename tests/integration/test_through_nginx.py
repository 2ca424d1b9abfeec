"""What sites are made of, through the configuration that we generate: a browser and curl look."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from support.browser import browser
from support.certificates import Authority
from support.cluster import REPOSITORY
from support.commands import run_command
from support.instances import start_instances
from support.nginx_site import site_before
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster
    from selenium.webdriver.remote.webdriver import WebDriver
    from support.cluster import Cluster
    from support.nginx_site import Site

pytestmark = pytest.mark.process
STATIC = REPOSITORY / "demo_app" / "static"
OPTIONS = [
    *("--stream-path", "/chat", "--stream-path", "/events"),
    *("--static", f"/static/={STATIC}", "--upload-path", "/upload"),
]
UPLOAD_BYTES = 50 * 1024 * 1024
FETCH_UNTIL_TOLD = """
window.statuses = {};
window.fetchOn = true;
(async () => {
  while (window.fetchOn) {
    let kind;
    try {
      const response = await fetch("/whoami", {cache: "no-store"});
      await response.json();
      kind = String(response.status);
    } catch (error) {
      kind = String(error);
    }
    window.statuses[kind] = (window.statuses[kind] ?? 0) + 1;
  }
})();
"""


@pytest.fixture
def made(cluster: StartCluster) -> Cluster:
    return start_instances(
        cluster, 3, "--xheaders", app="demo_app:make_app", chdir=REPOSITORY, environment={}
    )


@pytest.fixture
def site(made: Cluster, tmp_path: Path) -> Iterator[Site]:
    with site_before(made, tmp_path / "nginx", *OPTIONS) as running:
        yield running


def curl(*arguments: str) -> str:
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "60", "--noproxy", "*", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def text_of(driver: WebDriver, name: str) -> str:
    return str(
        driver.execute_script("return document.getElementById(arguments[0]).innerText", name)
    )


def test_a_page_lives_through_a_rolling_reload(made: Cluster, site: Site) -> None:
    """In a browser: its requests all succeed, its event stream goes on with new workers, its
    websocket is closed with a word and opened again, and what it says is heard.
    """
    old = {f"pid {pid}," for pid in made.worker_pids()}
    with browser() as driver:
        driver.get(site.url)
        eventually(lambda: "tick" in text_of(driver, "events"))
        eventually(lambda: "somebody joined" in text_of(driver, "chat"))
        color = "return getComputedStyle(document.body).fontFamily"
        assert driver.execute_script(color)
        driver.execute_script(FETCH_UNTIL_TOLD)
        eventually(lambda: driver.execute_script("return window.statuses['200'] > 20"))

        assert 0 == run_command(made, "reload").returncode
        new = {f"pid {pid}," for pid in made.worker_pids()}

        def stream_has_moved() -> bool:
            text = text_of(driver, "events")
            return "tick" in text and any(pid in text for pid in new)

        eventually(stream_has_moved)
        eventually(lambda: "the chat has ended (1001); connecting again" in text_of(driver, "chat"))
        eventually(lambda: any(pid in text_of(driver, "chat") for pid in new))
        driver.find_element(By.CSS_SELECTOR, "#say [name=text]").send_keys("still here\n")
        eventually(lambda: "still here" in text_of(driver, "chat"))
        driver.execute_script("window.fetchOn = false")
        statuses: Any = driver.execute_script("return window.statuses")

    assert ["200"] == list(statuses), statuses
    assert not old & new


def test_a_large_upload_arrives_whole(site: Site, tmp_path: Path) -> None:
    """50 MB, by POST: nginx's limit is the app's."""
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * (UPLOAD_BYTES // 256))
    answer = json.loads(curl("--data-binary", f"@{body}", f"{site.url}/upload"))

    assert UPLOAD_BYTES == answer["size_bytes"]
    assert hashlib.sha256(body.read_bytes()).hexdigest() == answer["sha256"]


def test_a_body_beyond_the_limit_is_refused_by_nginx(site: Site, tmp_path: Path) -> None:
    """Before the service sees any of it."""
    body = tmp_path / "body"
    with body.open("wb") as file:
        file.truncate(101 * 1024 * 1024)
    where = str(tmp_path / "answer")
    status = curl("-o", where, "-w", "%{http_code}", "-T", str(body), f"{site.url}/whoami")

    assert "413" == status


def test_static_files_come_from_nginx(site: Site) -> None:
    """Whole, in part, and to be kept for ever if their URL has Tornado's version in it."""
    page = curl(site.url)
    url = next(part for part in page.split('"') if part.startswith("/static/style.css?v="))
    style = (STATIC / "style.css").read_bytes()

    assert style.decode() == curl(site.url + url)
    head = curl("-D", "-", "-r", "5-14", site.url + url)
    assert "206 Partial Content" in head
    assert f"content-range: bytes 5-14/{len(style)}" in head.lower()
    assert head.endswith(style[5:15].decode())
    assert "cache-control: max-age=315360000" in head.lower()
    unversioned = curl("-I", f"{site.url}/static/style.css").lower()
    assert "cache-control" not in unversioned
    assert "server: nginx" in unversioned


def test_an_event_stream_is_passed_on_at_once(site: Site) -> None:
    """Each event when it comes, and not compressed, which would hold it back."""
    stream = subprocess.Popen(
        ["curl", "-sSN", "--compressed", f"{site.url}/events?interval_ms=100"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stream.stdout is not None
    try:
        lines = [stream.stdout.readline() for _ in range(12)]
    finally:
        stream.terminate()
        stream.wait(30)
        stream.stdout.close()

    assert ["id: 1\n", "id: 2\n", "id: 3\n"] == [line for line in lines if line[:2] == "id"]


def test_clients_are_known_behind_nginx(made: Cluster, site: Site) -> None:
    """What they claim of themselves is not believed."""
    forged = ["-H", "X-Forwarded-For: 10.9.8.7", "-H", "X-Real-IP: 10.9.8.7"]
    curl(*forged, f"{site.url}/whoami")
    seen = made.log() + (site.directory / "access.log").read_text()

    assert "10.9.8.7" not in seen


def test_over_tls_and_http2(made: Cluster, tmp_path: Path) -> None:
    """With the same service behind: the protocol is the proxy's affair."""
    signed = Authority(tmp_path / "authority").sign("server")
    options = ["--certificate", str(signed.certificate), "--certificate-key", str(signed.key)]
    with site_before(made, tmp_path / "nginx", *OPTIONS, *options) as secure:
        told = curl(
            *("-k", "--http2", "-o", "/dev/null"),
            *("-w", "%{http_version} %{http_code} %header{strict-transport-security}"),
            f"{secure.secure_url}/whoami",
        )
        moved = curl("-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", f"{secure.url}/a?b")

        assert "2 200 max-age=63072000" == told
        assert f"301 https://127.0.0.1:{secure.secure_port}/a?b" == moved
