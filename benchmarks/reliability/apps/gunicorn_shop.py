"""The Tornado app as gunicorn wants it: an object, made when a worker imports this module."""

from __future__ import annotations

from shop import make_app

app = make_app()
