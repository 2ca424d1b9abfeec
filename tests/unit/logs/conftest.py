"""A logging setup of its own for each test."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from tornado import log as tornado_log

from tornado_multi.logs import handler, plan, setup
from tornado_multi.process import identity

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what a test changes for the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    monkeypatch.setattr(tornado_log, "enable_pretty_logging", tornado_log.enable_pretty_logging)
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    monkeypatch.setattr(logging, "basicConfig", logging.basicConfig)
    monkeypatch.setattr(setup, "_named", set())
    monkeypatch.setattr(identity, "_fork_id", None)
    monkeypatch.setattr(identity, "_generation", None)
    root.handlers = []
    root.setLevel(logging.WARNING)
    yield
    plan.set_plan(None)
    handler.set_report(None)
    for made in list(handler._handlers):
        made.close()
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process passes for worker 3 of generation 2."""
    monkeypatch.setattr(identity, "_fork_id", 3)
    monkeypatch.setattr(identity, "_generation", 2)
