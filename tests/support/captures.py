"""What real providers have sent: written by the tests that have them, read by those that have not.

One file per version of Dubbo: kind (binary, text, qos, http, event) -> name -> request and reply in
hex. ``WRITE_DUBBO_CAPTURES=1`` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).resolve().parents[1] / "unit" / "dubbo" / "captures"
MOST_BYTES = 8000
"""What is larger is not kept: it proves nothing more."""


class Capture(NamedTuple):
    """One exchange."""

    name: str
    request: bytes
    reply: bytes


def versions() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def read(version: str, kind: str) -> list[Capture]:
    """Return the exchanges of one kind with a provider of this version."""
    kinds = json.loads((DIRECTORY / f"{version}.json").read_text())
    return [
        Capture(name, bytes.fromhex(parts["request"]), bytes.fromhex(parts["reply"]))
        for name, parts in kinds.get(kind, {}).items()
    ]


def keep(version: str, kind: str, name: str, request: bytes, reply: bytes | bytearray) -> None:
    """Write an exchange, if that is asked for."""
    if not os.environ.get("WRITE_DUBBO_CAPTURES") or len(request) + len(reply) > MOST_BYTES:
        return
    path = DIRECTORY / f"{version}.json"
    kinds = json.loads(path.read_text()) if path.exists() else {}
    kinds.setdefault(kind, {})[name] = {"request": request.hex(), "reply": reply.hex()}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(kinds, indent=1, sort_keys=True) + "\n")
