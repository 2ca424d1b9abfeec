"""How property tests run: in any time that this machine takes, and with no file left behind."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("ours", deadline=None, database=None)
settings.load_profile("ours")
