"""What differs between children without anybody's help."""

from __future__ import annotations

import random
import ssl
import uuid

random.random()
uuid.uuid4()
ssl.RAND_bytes(8)


def in_child(_index: int) -> dict[str, str]:
    return {
        "random": str(random.random()),
        "uuid": str(uuid.uuid4()),
        "ssl": ssl.RAND_bytes(8).hex(),
    }


def in_parent() -> None:
    """Nothing to see."""
