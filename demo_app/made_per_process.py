"""The app of ``demo_app.shared_by_accident``, mended: three lines are changed.

The connection is made on first use in each process, and each process writes a log file of its own.
The rest is line for line the same, so that ``diff`` shows the mend and nothing else.
"""

import asyncio
import logging.handlers
import os
import socket
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, RequestHandler

import tornado_multi
from demo_app.account_client import AccountClient
from demo_app.account_service import HOST, PORT

SERVICE = (HOST, int(os.environ.get("ACCOUNT_SERVICE_PORT", PORT)))
LOG_DIR = os.environ.get("CALLS_LOG_DIR", ".")
MAX_BYTES = 10_000

accounts = tornado_multi.PerProcess(lambda: AccountClient(socket.create_connection(SERVICE)))
handler = tornado_multi.PerProcessFileHandler("calls", directory=LOG_DIR, max_bytes=MAX_BYTES)
handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(message)s"))
calls = logging.getLogger("calls")
calls.addHandler(handler)
calls.setLevel(logging.INFO)
calls.propagate = False


class AccountHandler(RequestHandler):
    """GET /accounts/<account_id>, with the number of the call in the query."""

    def get(self, account_id: str) -> None:
        """Ask the account service, log the call, and pass the reply on."""
        reply = accounts().find(int(account_id))
        calls.info("call %s, account %s", self.get_query_argument("call", "-"), account_id)
        self.write(
            {
                "account_id": reply.account_id,
                "owner": reply.owner,
                "fork_id": tornado_multi.fork_id(),
            }
        )


def make_app() -> Application:
    """Build the application."""
    return Application([(r"/accounts/(\d+)", AccountHandler)])


def main() -> None:
    """Serve with four processes, as Tornado's guide says."""
    sockets = bind_sockets(int(sys.argv[1]) if len(sys.argv) > 1 else 8888, "127.0.0.1")
    print(f"listening  http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    fork_processes(4)

    async def post_fork_main() -> None:
        server = HTTPServer(make_app())
        server.add_sockets(sockets)
        await asyncio.Event().wait()

    asyncio.run(post_fork_main())


if __name__ == "__main__":
    main()
