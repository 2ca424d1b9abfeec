"""Fixtures for the tests of the demo app: one process, one loop, no workers."""

import pytest
from tornado.web import Application

from demo_app import make_app


@pytest.fixture
def debug() -> bool:
    """Say whether the app runs in debug; a test parametrizes this to True."""
    return False


@pytest.fixture
def app(*, debug: bool) -> Application:
    """Make the demo app, with accounts and a chat room of its own."""
    return make_app(debug=debug)
