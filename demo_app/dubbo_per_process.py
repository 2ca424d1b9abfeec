"""The app of ``demo_app.naive_dubbo``, mended: the client of tornado_multi, one in each process.

python -m tornado_multi.testing.dubbo --delay-ms 0 5 &
tornado-multi serve demo_app.dubbo_per_process:make_app --workers 4 &
ab -n 20 -c 10 http://127.0.0.1:8888/
"""

import os
import random

from tornado.web import Application, RequestHandler

import tornado_multi
from tornado_multi.dubbo.errors import DubboError


@tornado_multi.per_process
def provider() -> tornado_multi.DubboClient:
    """Return the client of this process."""
    protocol = os.environ.get("DUBBO_PROTOCOL", "dubbo")
    address = os.environ.get("DUBBO", "127.0.0.1:20880")
    return tornado_multi.DubboClient(address, protocol=protocol)


class AccountHandler(RequestHandler):
    """GET /."""

    async def get(self) -> None:
        """Ask for any account, and log what was sent and what was got."""
        sent = random.randrange(1_000_000)  # noqa: S311 - nobody guesses it
        service = provider().service("com.example.AccountService")
        try:
            got = (await service.getByAccountId(sent))["id"]
        except DubboError as error:
            got = type(error).__name__
        verdict = "right" if sent == got else "WRONG"
        print(f"sent {sent} got {got} {verdict}\n", end="", flush=True)
        self.set_status(200 if sent == got else 500)
        self.write(f"{verdict}\n")


def make_app() -> Application:
    """Build the application."""
    return Application([(r"/", AccountHandler)])
