"""Opens, starts and holds at import all that must not be open at a fork."""

from __future__ import annotations

from hazards import PLANTS
from hello import make_app

__all__ = ["make_app"]

PLANTED = {name: plant() for name, plant in PLANTS.items()}
