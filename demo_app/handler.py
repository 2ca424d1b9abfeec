"""What every handler shares: how a request is refused, and how numbers are read from it.

Must not know: what any of the routes is about.
"""

from http.client import responses
from typing import Any, TypeVar

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

NumberT = TypeVar("NumberT", int, float)

SHOWN_CHARACTERS = 40
"""How much of a wrong value an error message repeats."""


class RequestRefusedError(HTTPError):
    """The client asked for something it cannot have; the message is meant for the client."""

    def __init__(self, status_code: int, message: str) -> None:
        """Keep *message* for the answer, and hand it to Tornado's log as it is."""
        super().__init__(status_code, "%s", message)
        self.message = message


class DemoHandler(RequestHandler):
    """Answers errors as JSON under /api and /account, and as a small page everywhere else."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with what went wrong.

        A `RequestRefusedError` tells its message. Any other exception shows the standard phrase
        of its status only: its text is for the log.

        JSON shape: ``{"status": int, "error": str}``.
        """
        _, error, _ = kwargs.get("exc_info", (None, None, None))
        phrase = responses.get(status_code, "Unknown")
        message = error.message if isinstance(error, RequestRefusedError) else phrase
        if is_api_path(self.request.path):
            self.finish({"status": status_code, "error": message})
        else:
            self.render("error.html", status=status_code, phrase=phrase, message=message)

    def query_number(
        self,
        name: str,
        kind: type[NumberT],
        *,
        default: NumberT,
        lowest: NumberT,
        highest: NumberT,
    ) -> NumberT:
        """Read one number from the query, *default* if it is not there.

        Raises:
            RequestRefusedError: 400, not a number of this kind, or outside lowest..highest.
        """
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        return parse_number(text, kind, name=name, lowest=lowest, highest=highest)


class NotFoundHandler(DemoHandler):
    """Refuses every path and method that no route names."""

    def prepare(self) -> None:
        """Refuse before a method is looked for."""
        message = f"{self.request.path[:SHOWN_CHARACTERS]!r} is not a path of this service; see /"
        raise RequestRefusedError(404, message)


class StaticHandler(DemoHandler, StaticFileHandler):
    """Tornado's static files, with the error page of this app."""


def is_api_path(path: str) -> bool:
    """Whether errors under *path* are told as JSON."""
    return path == "/api" or path.startswith(("/api/", "/account/"))


def parse_number(
    text: str, kind: type[NumberT], *, name: str, lowest: NumberT, highest: NumberT
) -> NumberT:
    """Turn *text* into a number with ``lowest <= number <= highest``.

    Args:
        text: as the client sent it; for floats ``nan`` and ``inf`` are outside every bound.
        kind: int or float.
        name: what the client calls it, for the message.
        lowest: the smallest number allowed.
        highest: the largest number allowed.

    Raises:
        RequestRefusedError: 400, with the value seen and the range allowed.
    """
    try:
        number = kind(text)
    except ValueError:
        allowed = False
    else:
        allowed = lowest <= number <= highest
    if not allowed:
        noun = "an integer" if kind is int else "a number"
        message = f"{name}={text[:SHOWN_CHARACTERS]!r}: must be {noun} from {lowest} to {highest}"
        raise RequestRefusedError(400, message)
    return number
