"""A classic bug, on purpose: one connection to a Dubbo provider that all workers share by accident.

Four workers type their commands into the one connection, and each reads whatever reply comes first.
Each request picks an account, and the log says which one was asked for and which one came:

    python -m tornado_multi.testing.dubbo --delay-ms 0 5 &
    python -m demo_app.naive_dubbo &                  # forked by Tornado alone
    ab -n 20 -c 10 http://127.0.0.1:8888/             # sent 4711 got 1147 WRONG

``demo_app.dubbo_per_process`` is the same app with the client of tornado_multi.
"""

import asyncio
import json
import os
import random
import socket
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, RequestHandler

HOST, _, PORT = os.environ.get("DUBBO", "127.0.0.1:20880").rpartition(":")
TIMEOUT_S = 2.0

provider = socket.create_connection((HOST, int(PORT)), timeout=TIMEOUT_S)


def get_account(account_id: int) -> int:
    """Type a command, read up to the prompt, and return the number of the account that came."""
    command = f"invoke com.example.AccountService.getByAccountId({account_id})\r\n"
    provider.sendall(command.encode())
    reply = b""
    while not reply.endswith(b"dubbo>"):
        piece = provider.recv(4096)
        if not piece:
            raise ConnectionError("the provider has closed the connection")
        reply += piece
    return int(json.loads(reply.partition(b"\r\n")[0])["id"])


class AccountHandler(RequestHandler):
    """GET /."""

    def get(self) -> None:
        """Ask for any account, and log what was sent and what was got."""
        sent = random.randrange(1_000_000)  # noqa: S311 - nobody guesses it
        try:
            got: int | str = get_account(sent)
        except (OSError, ValueError) as error:
            got = type(error).__name__
        verdict = "right" if sent == got else "WRONG"
        print(f"sent {sent} got {got} {verdict}\n", end="", flush=True)
        self.set_status(200 if sent == got else 500)
        self.write(f"{verdict}\n")


def main() -> None:
    """Serve with four processes, as Tornado's guide says."""
    sockets = bind_sockets(int(sys.argv[1]) if len(sys.argv) > 1 else 8888, "127.0.0.1")
    print(f"listening  http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    fork_processes(4)

    async def post_fork_main() -> None:
        server = HTTPServer(Application([(r"/", AccountHandler)]))
        server.add_sockets(sockets)
        await asyncio.Event().wait()

    asyncio.run(post_fork_main())


if __name__ == "__main__":
    main()
