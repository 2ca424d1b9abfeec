"""Plants the one hazard that HAZARD names."""

from __future__ import annotations

import os

from hazards import PLANTS
from hello import make_app

__all__ = ["make_app"]

PLANTED = PLANTS[os.environ["HAZARD"]]()
