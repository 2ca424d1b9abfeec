"""The demo app: a small account service that shows what users have.

Serve it with four workers:

    python -m tornado_multi serve demo_app:make_app --workers 4

and with the routes that are for development only:

    python -m tornado_multi serve demo_app:make_app --workers 4 -- --debug

Each worker has its own memory: an account posted to one worker is unknown to the others, and the
chat reaches the clients of one worker only. A real service would keep both in a database or a
broker; here it makes visible which process answered.

``demo_app.shared_by_accident`` shows what goes wrong without the toolkit; see there.

Must not do: open, start or read anything at import (but for that one, whose point it is).
Runs in: zygote (import), worker (the rest).
"""

from demo_app.application import make_app

__all__ = ["make_app"]
