"""Fixtures for the tests of the demo app: one process, one loop, no workers."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop
from tornado.web import Application

from demo_app import make_app
from demo_app.dubbo_accounts import accounts
from tornado_multi import DubboClient
from tornado_multi.testing.dubbo import DubboProvider


@pytest.fixture
def debug() -> bool:
    """Say whether the app runs in debug; a test parametrizes this to True."""
    return False


@pytest.fixture
def app(*, debug: bool) -> Application:
    """Make the demo app, with accounts and a chat room of its own."""
    return make_app(debug=debug)


@pytest.fixture
def account_provider(io_loop: IOLoop) -> Iterator[DubboProvider]:
    """Run the account service, and have the app ask it."""
    with DubboProvider() as provider:
        client = DubboClient(provider.address, patience_s=0)
        with accounts.override(client):
            yield provider
        io_loop.run_sync(client.close)
