"""The factory: which path leads to which handler, and the settings of the application.

Must not know: how a handler answers; listening, processes, signals.
"""

from pathlib import Path

from tornado.options import define, options
from tornado.web import Application, url

from demo_app.accounts import AccountHandler, AccountsHandler, AccountStore
from demo_app.chat import MAX_MESSAGE_BYTES, ChatHandler, ChatRoom
from demo_app.delays import BlockHandler, SlowHandler
from demo_app.downloads import DownloadHandler
from demo_app.dubbo_accounts import DubboAccountHandler
from demo_app.events import EventsHandler
from demo_app.handler import NotFoundHandler, StaticHandler
from demo_app.identity import WhoamiHandler
from demo_app.pages import HomeHandler, links
from demo_app.uploads import UploadHandler

define(
    "debug",
    default=False,
    type=bool,
    help="mount /block, and read templates and static files again on each request",
)

PACKAGE_DIR = Path(__file__).parent

CHAT_PING_INTERVAL_S = 30.0
"""A client that vanished without a word is noticed within two of these."""


def make_app(*, debug: bool | None = None) -> Application:
    """Build the application with fresh accounts and an empty chat room.

    Args:
        debug: True mounts /block and switches the caches of templates and static files off;
            None takes the option ``--debug``.

    Runs in: worker, once. Blocks: never.
    """
    if debug is None:
        debug = options.debug
    store = AccountStore()
    room = ChatRoom()
    routes = [
        url(r"/", HomeHandler, {"store": store, "links": links(debug=debug)}),
        url(r"/whoami", WhoamiHandler),
        url(r"/api/accounts", AccountsHandler, {"store": store}),
        url(r"/api/accounts/([^/]+)", AccountHandler, {"store": store}),
        url(r"/account/([^/]+)", DubboAccountHandler),
        url(r"/chat", ChatHandler, {"room": room}),
        url(r"/events", EventsHandler),
        url(r"/upload", UploadHandler),
        url(r"/download", DownloadHandler),
        url(r"/slow", SlowHandler),
    ]
    debug_routes = [url(r"/block", BlockHandler)] if debug else []
    # Tornado's own debug setting is not used: it switches autoreload on, which starts the process
    # anew with its command line, and a worker's command line is not its own.
    return Application(
        [*routes, *debug_routes],
        default_handler_class=NotFoundHandler,
        template_path=str(PACKAGE_DIR / "templates"),
        static_path=str(PACKAGE_DIR / "static"),
        static_handler_class=StaticHandler,
        compiled_template_cache=not debug,
        static_hash_cache=not debug,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        websocket_ping_interval=CHAT_PING_INTERVAL_S,
    )
