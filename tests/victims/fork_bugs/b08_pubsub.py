"""A Redis subscription made before the fork: the child reads the parent's message."""

from __future__ import annotations

import os

import redis

PORT = int(os.environ["REDIS_PORT"])
CHANNEL = f"news-{os.getpid()}"
PUBSUB = redis.Redis(port=PORT, socket_timeout=20).pubsub()
PUBSUB.subscribe(CHANNEL)  # hazard: connected-socket
PUBSUB.get_message(timeout=20)  # the confirmation


def text_of(message: dict[str, bytes] | None) -> str | None:
    return None if message is None else message["data"].decode()


def in_child(_index: int) -> str | None:
    with redis.Redis(port=PORT) as publisher:
        publisher.publish(CHANNEL, "for the parent")
    return text_of(PUBSUB.get_message(ignore_subscribe_messages=True, timeout=2))


def in_parent() -> str | None:
    return text_of(PUBSUB.get_message(timeout=0))
