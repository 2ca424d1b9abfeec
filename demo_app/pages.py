"""The home page: which worker answered, what it holds, and where to go from here."""

from typing import NamedTuple

from demo_app.accounts import AccountStore
from demo_app.handler import DemoHandler
from demo_app.identity import identity


class Link(NamedTuple):
    """One route as the home page shows it; only a GET can be followed."""

    method: str
    path: str
    purpose: str


LINKS = (
    Link("GET", "/whoami", "pid and fork_id of the worker that answers"),
    Link("GET", "/api/accounts", "all accounts of this worker"),
    Link("GET", "/api/accounts/1", "one account"),
    Link("POST", "/api/accounts", 'add one: {"owner": "Barbara", "balance_cents": 500}'),
    Link("GET", "/account/4711", "an account that a Dubbo service keeps"),
    Link("GET", "/events?interval_ms=500&count=10", "ten server-sent events"),
    Link("POST", "/upload", "count and hash a body of up to 1 GiB; PUT does the same"),
    Link("GET", "/download?size_bytes=1048576", "1 MiB of bytes known in advance"),
    Link("GET", "/slow?seconds=2", "an answer after two seconds, others are served meanwhile"),
)

DEBUG_LINKS = (Link("GET", "/block?seconds=2", "two seconds in which this worker serves nobody"),)


def links(*, debug: bool) -> tuple[Link, ...]:
    """Return the routes that are mounted, in the order of the page."""
    return LINKS + DEBUG_LINKS if debug else LINKS


class HomeHandler(DemoHandler):
    """GET /."""

    def initialize(self, store: AccountStore, links: tuple[Link, ...]) -> None:
        """Take what the page shows from the route."""
        self.store = store
        self.links = links

    def get(self) -> None:
        """Render the page."""
        self.set_header("Cache-Control", "no-store")
        self.render("home.html", accounts=self.store.all(), links=self.links, **identity())
