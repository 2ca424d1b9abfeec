"""Many clients that ask for accounts by number and compare each answer with its question."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter


async def ask_for_accounts(
    port: int, connections: int, requests: int, owner: str = "Owner"
) -> Counter[str]:
    """Send so many ``GET /account/<n>``, each with another number, over keep-alive connections.

    Args: owner: what stands before the number in the name of an account.
    Returns: ``right``, ``wrong`` (another account came) and ``status N``, each with its count.
    """
    numbers = iter(range(1, requests + 1))
    found: Counter[str] = Counter()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> str:
        writer.write(f"GET /account/{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        status = head.split()[1]
        if status != "200":
            return f"status {status}"
        account = body["account"]
        is_right = (number, f"{owner} {number}") == (account["id"], account["name"])
        return "right" if is_right else "wrong"

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            found[await ask(reader, writer, number)] += 1
        writer.close()
        await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for _ in itertools.repeat(None, connections):
            group.create_task(client())
    return found
