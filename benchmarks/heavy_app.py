"""An app as services have them: many imports, a cache at module level, work that leaves garbage."""

from __future__ import annotations

import gc

import imports_app
from tornado.web import Application, RequestHandler

IMPORTED = imports_app.IMPORTED
CACHE = [{"number": number, "name": f"item {number}", "tags": [number]} for number in range(60_000)]


class Work(RequestHandler):
    """GET /: reads the cache, makes garbage in cycles, and lets the collector look."""

    def get(self) -> None:
        seen = sum(item["number"] for item in CACHE[::3])
        for number in range(2_000):
            cycle: list[object] = [number]
            cycle.append(cycle)
        gc.collect()
        self.write(str(seen))


def make_app() -> Application:
    return Application([("/", Work)])
