"""The home page and the static files it uses."""

import hashlib
import os
import re
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient

import demo_app
from demo_app.pages import links

STATIC_DIR = Path(demo_app.__file__).parent / "static"


@pytest.mark.gen_test
async def test_the_page_names_the_process(http_client: AsyncHTTPClient, base_url: str) -> None:
    """The page shows the pid, and says "none" where there is no fork_id."""
    response = await http_client.fetch(f"{base_url}/")

    page = response.body.decode()

    assert "text/html; charset=UTF-8" == response.headers["Content-Type"]
    assert f'<strong id="pid">{os.getpid()}</strong>' in page
    assert '<strong id="fork-id">none</strong>' in page


@pytest.mark.gen_test
async def test_fork_id_0_is_shown_as_a_number(
    http_client: AsyncHTTPClient, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker is not taken for no worker."""
    monkeypatch.setattr("tornado_multi.fork_id", lambda: 0)

    response = await http_client.fetch(f"{base_url}/")

    assert '<strong id="fork-id">0</strong>' in response.body.decode()


@pytest.mark.gen_test
async def test_the_page_shows_the_accounts_of_the_worker_escaped(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """An owner's name is text, whatever is in it."""
    await http_client.fetch(
        f"{base_url}/api/accounts", method="POST", body='{"owner": "<i>Eve</i>"}'
    )

    page = (await http_client.fetch(f"{base_url}/")).body.decode()

    assert "<td>Ada</td>" in page
    assert "<td>&lt;i&gt;Eve&lt;/i&gt;</td>" in page


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.gen_test
async def test_the_page_lists_what_is_mounted(
    http_client: AsyncHTTPClient, base_url: str, *, debug: bool
) -> None:
    """Every route is listed, and /block only where it is mounted."""
    page = (await http_client.fetch(f"{base_url}/")).body.decode()

    for link in links(debug=debug):
        assert f">{link.path.replace('&', '&amp;')}<" in page
    assert debug == ("/block" in page)


@pytest.mark.usefixtures("account_provider")
@pytest.mark.parametrize("debug", [True])
@pytest.mark.gen_test
async def test_every_link_leads_somewhere(
    http_client: AsyncHTTPClient, base_url: str, *, debug: bool
) -> None:
    """No path on the page is unknown to the routes."""
    paths = [re.sub(r"seconds=\d+", "seconds=0", link.path) for link in links(debug=debug)]

    statuses = {}
    for path in paths:
        short = path.replace("interval_ms=500", "interval_ms=10")
        response = await http_client.fetch(base_url + short, raise_error=False)
        statuses[path] = response.code

    # A GET of /upload, which is for POST and PUT, is the one refusal.
    assert {"/upload": 405} == {path: code for path, code in statuses.items() if code != 200}


@pytest.mark.parametrize("name", ["style.css", "home.js"])
@pytest.mark.gen_test
async def test_static_files_carry_their_version(
    http_client: AsyncHTTPClient, base_url: str, name: str
) -> None:
    """The page asks for a static file by its content, so the answer may be kept for years."""
    content = (STATIC_DIR / name).read_bytes()
    page = (await http_client.fetch(f"{base_url}/")).body.decode()
    found = re.search(rf'"(/static/{re.escape(name)}\?v=([0-9a-f]+))"', page)
    assert found is not None
    path, version = found.groups()

    response = await http_client.fetch(base_url + path)

    assert content == response.body
    assert hashlib.sha512(content).hexdigest() == version
    assert "Expires" in response.headers
    assert "max-age=" in response.headers["Cache-Control"]


@pytest.mark.gen_test
async def test_a_missing_static_file_is_the_error_page(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """Static files are refused on the same page as everything else."""
    response = await http_client.fetch(f"{base_url}/static/nothing.css", raise_error=False)

    assert 404 == response.code
    assert "<h1>404 Not Found</h1>" in response.body.decode()
