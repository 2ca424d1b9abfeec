"""Has no standard output."""

import sys

from hello import make_app

__all__ = ["make_app"]

sys.stdout = None
