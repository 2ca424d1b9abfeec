"""A Redis client with a live pooled connection: the pool sees the new pid and connects anew."""

from __future__ import annotations

import os

import redis

CLIENT = redis.Redis(port=int(os.environ["REDIS_PORT"]), socket_timeout=20)
BEFORE = CLIENT.client_id()


def in_child(_index: int) -> bool:
    return CLIENT.client_id() not in {BEFORE, None}


def in_parent() -> bool:
    return CLIENT.client_id() == BEFORE
