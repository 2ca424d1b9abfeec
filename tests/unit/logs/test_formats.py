"""The two forms of a record."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httputil import HTTPHeaders
from tornado.log import access_log
from tornado.web import Application, RequestHandler

from tornado_multi.logs.formats import (
    FIRST_LINE,
    JsonFormatter,
    Stamps,
    TextFormatter,
    access_fields,
)
from tornado_multi.logs.request_id import begin_request, end_request

if TYPE_CHECKING:
    from collections.abc import Iterator

PID = os.getpid()


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def request_7() -> Iterator[None]:
    begin_request(HTTPHeaders({"X-Request-Id": "seven"}))
    yield
    end_request()


def record(text: str = "hello", *values: object, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("shop.views", logging.INFO, "views.py", 7, text, values or None, None)
    made.created = 1_700_000_000.5
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def failed() -> Any:
    try:
        raise ValueError("no such shop")
    except ValueError:
        return sys.exc_info()


def test_a_line_says_when_how_bad_who_and_what(worker: None, request_7: None) -> None:
    """Local time with its offset, level, process, request, logger, text."""
    assert (
        f"2023-11-14 23:13:20.500000+01:00 INFO     worker fork_id=3 gen=2 pid={PID} req=seven: "
        "shop.views: 2 carts"
    ) == TextFormatter().format(record("%d carts", 2))


def test_a_process_outside_a_service_is_its_pid() -> None:
    """Scripts, tests and notebooks."""
    assert f" pid={PID}: shop.views: hello" in TextFormatter().format(record())


def test_further_lines_are_indented(worker: None) -> None:
    """A text can't pass for a record of its own, whatever a client has sent."""
    fake = TextFormatter().format(record())
    text = TextFormatter().format(record(f"bad\r\n{fake}\rx\n", exc_info=failed()))

    assert 1 == sum(FIRST_LINE.match(line) is not None for line in text.split("\n"))
    assert "\r" not in text
    assert text.endswith("    ValueError: no such shop")


@pytest.mark.parametrize("at_s", [0.0, 1_700_000_000.999999, 1_720_000_000.0004])
def test_stamps_follow_the_offset(at_s: float) -> None:
    """Winter and summer; microseconds are cut, not rounded into the next second."""
    stamps = Stamps("T")
    wanted = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at_s))
    offset = "+02:00" if time.localtime(at_s).tm_isdst else "+01:00"

    assert (
        f"{wanted}.{int(at_s % 1 * 1_000_000):06}{offset}"
        == stamps.stamp(at_s)
        == stamps.stamp(at_s)
    )


def test_json_says_the_same_and_what_extra_says(worker: None, request_7: None) -> None:
    """One object per line; ``extra`` becomes keys, and takes none of ours away."""
    line = JsonFormatter().format(
        record("a\nb", cart=object, pid=1, exc_info=failed(), stack_info="Stack:\n  here")
    )
    fields = json.loads(line)

    assert "\n" not in line
    assert fields.pop("traceback").endswith("ValueError: no such shop")
    assert {
        "time": "2023-11-14T23:13:20.500000+01:00",
        "level": "info",
        "who": f"worker fork_id=3 gen=2 pid={PID}",
        "text": "a\nb",
        "logger": "shop.views",
        "pid": PID,
        "fork_id": 3,
        "generation": 2,
        "request_id": "seven",
        "stack": "Stack:\n  here",
        "cart": "<class 'object'>",
    } == fields


def test_what_is_not_known_is_null() -> None:
    """Outside a service and outside a request."""
    fields = json.loads(JsonFormatter().format(record()))

    assert (None, None, None) == (fields["fork_id"], fields["generation"], fields["request_id"])


def test_tornados_access_log_has_fields(caplog: pytest.LogCaptureFixture) -> None:
    """Method, path, status, duration and remote, as Tornado itself logs them today."""
    from tornado.httputil import HTTPServerRequest, RequestStartLine

    class Connection:
        def set_close_callback(self, _callback: object) -> None:
            pass

    class Context:
        remote_ip = "10.0.0.7"
        protocol = "http"

    connection: Any = Connection()
    connection.context = Context()
    application = Application()
    start_line = RequestStartLine("GET", "/carts/(1)?a=b c", "HTTP/1.1")
    request = HTTPServerRequest(
        start_line=start_line, headers=HTTPHeaders({"Host": "x"}), connection=connection
    )
    handler = RequestHandler(application, request)
    logging.getLogger().addHandler(caplog.handler)
    access_log.setLevel(logging.INFO)
    try:
        application.log_request(handler)
    finally:
        access_log.setLevel(logging.NOTSET)
    fields = json.loads(JsonFormatter().format(caplog.records[0]))

    assert ("GET", "/carts/(1)?a=b c", 200, "10.0.0.7") == tuple(
        fields[name] for name in ("method", "path", "status", "remote")
    )
    assert 0 <= fields["duration_ms"] < 60_000


def test_another_access_log_is_left_as_it_is() -> None:
    """An app may log requests in its own way (``log_function``)."""
    assert [{}, {}, {}] == [access_fields(item) for item in (None, ("x",), (200, "odd", 1.5))]


class Unprintable:
    """What nobody can show."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("extra", "written"),
    [
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (CIRCLE, "[[...]]"),
        (float("nan"), "nan"),
        (Unprintable(), "<a Unprintable that can't be shown>"),
    ],
)
def test_an_extra_that_json_has_no_form_for_costs_no_record(extra: object, written: str) -> None:
    """It becomes a text; the other fields stay what they are."""
    fields = json.loads(JsonFormatter().format(record(cart=extra, shop=[1, 2])))

    assert (written, [1, 2], "hello") == (fields["cart"], fields["shop"], fields["text"])
