"""Clients of ``tests/victims/hammer.py``, and the sum of what they were told."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tornado_multi.testing.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOURCES = (
    *("redis-client", "redis-connection", "redis-subscription"),
    *("psycopg", "sqlalchemy"),
)
CLIENTS = 8
"""Twice as many as workers, so that each of them always has something to do."""


@dataclass
class Hammered:
    """What became of all calls."""

    right: Counter[str] = field(default_factory=Counter)
    """Calls that had the reply to their own token, by resource."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Calls that had somebody else's reply, by resource."""
    errors: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Calls that failed, by resource and the worker's pid."""
    texts: set[str] = field(default_factory=set)
    """Of the errors."""
    pids: set[int] = field(default_factory=set)

    @property
    def calls(self) -> int:
        return self.right.total() + self.wrong.total() + self.errors.total()

    def add(self, resource: str, answer: dict[str, Any]) -> None:
        self.pids.add(answer["pid"])
        self.right[resource] += answer["right"]
        self.wrong[resource] += answer["wrong"]
        self.errors[resource, answer["pid"]] += len(answer["errors"])
        self.texts.update(answer["errors"])


def hammer(
    port: int, calls: int, *, per_request: int, resources: Sequence[str] = RESOURCES
) -> Hammered:
    """Have *calls* calls made, of all resources in turn, by requests that run at the same time."""
    summed = Hammered()
    turns = itertools.islice(itertools.cycle(resources), calls // per_request)

    def ask(resource: str) -> tuple[str, dict[str, Any]]:
        url = f"http://127.0.0.1:{port}/?resource={resource}&calls={per_request}"
        response = fetch(url, headers={}, timeout_s=600)
        assert response.status == 200, response.body
        return resource, json.loads(response.body)

    with ThreadPoolExecutor(CLIENTS) as clients:
        for resource, answer in clients.map(ask, turns):
            summed.add(resource, answer)
    return summed
