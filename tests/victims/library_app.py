"""Makes at import the client that PLANT names, or all that are lazy."""

from __future__ import annotations

import os

from hello import make_app
from library_plants import LAZY, PLANTS

__all__ = ["make_app"]

NAME = os.environ["PLANT"]
MADE = [make() for make in LAZY.values()] if NAME == "lazy" else [PLANTS[NAME]()]

import this_is_imported_later  # noqa: E402, F401 - a line that has started nothing
