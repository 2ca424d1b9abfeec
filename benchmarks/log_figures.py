"""What a log record costs, against the standard library's handlers. In this process alone."""

from __future__ import annotations

import logging
import logging.handlers
import os
import tempfile
import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from tornado_multi.logs.formats import JsonFormatter, TextFormatter
from tornado_multi.logs.handler import PerProcessFileHandler

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 10
RECORDS = 5000
LARGE_BYTES = 100 * 1024 * 1024
TEXT = "found %d carts of %s"


def cost_per_record() -> list[Figure]:
    """CPU time per record of about 120 bytes; the handlers take turns, and all but one our text form."""
    with tempfile.TemporaryDirectory() as directory:

        def in_directory(name: str) -> str:
            return os.path.join(directory, name)

        makers: dict[str, tuple[Callable[[], logging.Handler], logging.Formatter]] = {
            "ours": (
                lambda: PerProcessFileHandler("ours", directory=directory, max_bytes=LARGE_BYTES),
                TextFormatter(),
            ),
            "ours, as JSON": (
                lambda: PerProcessFileHandler("json", directory=directory, max_bytes=LARGE_BYTES),
                JsonFormatter(),
            ),
            "logging.FileHandler": (
                lambda: logging.FileHandler(in_directory("plain.log"), encoding="utf-8"),
                TextFormatter(),
            ),
            "logging.handlers.RotatingFileHandler": (
                lambda: logging.handlers.RotatingFileHandler(
                    in_directory("rotating.log"), maxBytes=LARGE_BYTES, encoding="utf-8"
                ),
                TextFormatter(),
            ),
        }
        handlers = {}
        for name, (make, formatter) in makers.items():
            handlers[name] = make()
            handlers[name].setFormatter(formatter)
        values: dict[str, list[float]] = {name: [] for name in handlers}
        for _ in range(RUNS):
            for name, handler in handlers.items():
                values[name].append(_cpu_us(handler))
        for handler in handlers.values():
            handler.close()
    return [
        Figure(f"CPU per log record, {name}", "µs", tuple(found)) for name, found in values.items()
    ]


def _cpu_us(handler: logging.Handler) -> float:
    logger = logging.getLogger("benchmark")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.handlers[:] = [handler]
    begun_s = time.process_time()
    for number in range(RECORDS):
        logger.info(TEXT, number, "somebody")
    return (time.process_time() - begun_s) / RECORDS * 1e6
