"""A service of accounts as teams have one beside Tornado: a connection, and one reply per request.

    python -m demo_app.account_service [PORT]

The protocol is as small as can be: a request is the number of an account, a reply is that number
and the name of its owner. Replies come in the order of the requests, and all have one size, so that
whoever reads somebody else's reply reads a whole one. That is the quiet kind of the bug which
``demo_app.shared_by_accident`` shows: nothing fails, the reply is about another account.
"""

import asyncio
import struct
import sys

HOST = "127.0.0.1"
PORT = 20880
"""As Dubbo services have it."""
REQUEST = struct.Struct("!I")
"""account_id"""
REPLY = struct.Struct("!I60s")
"""account_id; name of the owner in UTF-8, filled up with zeros"""
WORK_S = 0.001
"""How long an account is looked for."""


def owner_of(account_id: int) -> str:
    """Return the owner of an account."""
    return f"Owner {account_id}"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection until the client closes it."""
    try:
        while True:
            (account_id,) = REQUEST.unpack(await reader.readexactly(REQUEST.size))
            await asyncio.sleep(WORK_S)
            writer.write(REPLY.pack(account_id, owner_of(account_id).encode()))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # it has closed
    finally:
        writer.close()


async def serve(port: int) -> None:
    """Listen and say where; 0 is any free port. Runs until it is cancelled."""
    server = await asyncio.start_server(answer, HOST, port)
    host, port = server.sockets[0].getsockname()
    print(f"The account service listens on {host}:{port}.", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else PORT))
