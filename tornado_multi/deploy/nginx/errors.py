"""What can't be put into a configuration. Pure."""

from __future__ import annotations


class RefusedError(ValueError):
    """The settings ask for what nginx, or this version of it, can't do; one or more full sentences."""
