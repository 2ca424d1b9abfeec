"""GET /account/<account_id>: an account that a Java service keeps, asked for over Dubbo.

By default the provider is ``python -m tornado_multi.testing.dubbo``, which ``make demo`` starts
beside the app; ``--dubbo=host:port`` names another one.
"""

import json
import logging
from typing import Any

from tornado.options import define, options

import tornado_multi
from demo_app.handler import DemoHandler, RequestRefusedError, parse_number
from demo_app.identity import identity
from tornado_multi.dubbo.errors import DubboError, NotSentError

define("dubbo", default="127.0.0.1:20880", help="provider of com.example.AccountService")
define("dubbo_protocol", default="dubbo", help="dubbo, telnet or qos")

MAX_LONG = 2**63 - 1
PATIENCE_S = 2.0
"""A provider that restarts is waited for; one that is gone is not."""


@tornado_multi.per_process
def accounts() -> tornado_multi.DubboClient:
    """Return the client of this worker; it connects at its first call."""
    return tornado_multi.DubboClient(
        options.dubbo, protocol=options.dubbo_protocol, patience_s=PATIENCE_S
    )


class DubboAccountHandler(DemoHandler):
    """GET /account/<account_id>."""

    async def get(self, account_id_text: str) -> None:
        """Answer what the service knows, and which worker has asked it.

        JSON shape: ``{"account": {…}, "pid": int, "fork_id": int | null}``.
        """
        account_id = parse_number(
            account_id_text, int, name="account_id", lowest=0, highest=MAX_LONG
        )
        service = accounts().service("com.example.AccountService")
        try:
            account: dict[str, Any] = await service.getByAccountId(account_id)
        except DubboError as error:
            logging.getLogger(__name__).warning("account %s: %s", account_id, error)
            status = 503 if isinstance(error, NotSentError) else 502
            message = f"the account service could not be asked: {type(error).__name__}"
            raise RequestRefusedError(status, message) from error
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.write(json.dumps({"account": account, **identity()}, default=str))
