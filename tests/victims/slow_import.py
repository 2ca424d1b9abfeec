"""Takes a moment to import."""

import time

from hello import make_app

time.sleep(1)

__all__ = ["make_app"]
