"""What all handlers share: refusing, and reading numbers."""

import json

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

from demo_app.handler import DemoHandler, RequestRefusedError, is_api_path, parse_number


class BrokenHandler(DemoHandler):
    """Raises what no handler should."""

    def get(self) -> None:
        """Fail with a text that is for the log only."""
        message = "secret"
        raise ZeroDivisionError(message)


@pytest.fixture
def app(app: Application) -> Application:
    """Add a broken route on each side of /api to the demo app."""
    app.add_handlers(r".*", [("/broken", BrokenHandler), ("/api/broken", BrokenHandler)])
    return app


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/api", True), ("/api/", True), ("/api/x", True), ("/apis", False), ("/", False)],
)
def test_the_api_is_one_folder(path: str, *, expected: bool) -> None:
    """Only /api and what lies below it answers errors as JSON."""
    assert expected == is_api_path(path)


@pytest.mark.parametrize("text", ["0", "7", "10"])
def test_both_bounds_are_allowed(text: str) -> None:
    """A number from lowest to highest, both included, is read."""
    assert int(text) == parse_number(text, int, name="n", lowest=0, highest=10)


@pytest.mark.parametrize("text", ["", "-1", "11", "x", "1.5", "1e1", "9" * 5000])
def test_a_wrong_integer_is_refused_with_its_bounds(text: str) -> None:
    """The message names the argument, repeats the beginning of what was seen, and the range."""
    with pytest.raises(RequestRefusedError) as refusal:
        parse_number(text, int, name="n", lowest=0, highest=10)

    assert 400 == refusal.value.status_code
    assert f"n={text[:40]!r}: must be an integer from 0 to 10" == refusal.value.message


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-0.1", "10.1", "x"])
def test_a_wrong_float_is_refused(text: str) -> None:
    """Not a number and infinity lie outside every range."""
    with pytest.raises(RequestRefusedError, match=r"must be a number from 0\.0 to 10\.0"):
        parse_number(text, float, name="n", lowest=0.0, highest=10.0)


def test_a_refusal_may_contain_a_percent_sign() -> None:
    """The text of a client is no format string for the log."""
    assert "50% %s" in str(RequestRefusedError(400, "50% %s"))


@pytest.mark.gen_test
async def test_an_unknown_page_is_a_404_page(http_client: AsyncHTTPClient, base_url: str) -> None:
    """Outside /api an error is HTML, and the path of the client is escaped in it."""
    response = await http_client.fetch(f"{base_url}/<b>?x=1", raise_error=False)

    page = response.body.decode()

    assert 404 == response.code
    assert "text/html; charset=UTF-8" == response.headers["Content-Type"]
    assert "<h1>404 Not Found</h1>" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


@pytest.mark.gen_test
async def test_an_unknown_path_of_the_api_is_404_in_json(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """Inside /api an error is JSON, whoever found it."""
    response = await http_client.fetch(f"{base_url}/api/nothing", raise_error=False)

    answer = json.loads(response.body)

    assert (404, 404) == (response.code, answer["status"])
    assert "'/api/nothing' is not a path of this service" in answer["error"]


@pytest.mark.parametrize("path", ["/broken", "/api/broken"])
@pytest.mark.gen_test
async def test_a_bug_is_500_and_tells_nothing(
    http_client: AsyncHTTPClient, base_url: str, path: str
) -> None:
    """The text of an unexpected exception goes to the log, not to the client."""
    response = await http_client.fetch(base_url + path, raise_error=False)

    assert 500 == response.code
    assert b"Internal Server Error" in response.body
    assert b"secret" not in response.body


def test_every_route_uses_the_shared_errors(app: Application) -> None:
    """Each handler of the app refuses in the app's own words."""
    handlers = [rule.target for rule in app.wildcard_router.rules]
    plain = [
        h for h in handlers if issubclass(h, RequestHandler) and not issubclass(h, DemoHandler)
    ]

    assert ["ChatHandler"] == [handler.__name__ for handler in plain]
