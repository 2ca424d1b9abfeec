"""Serves for a moment, then ends by itself, while the file named in the environment exists."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hello import make_app as make_hello
from tornado.web import Application


async def make_app() -> Application:
    if Path(os.environ["DIE_WHILE"]).exists():
        asyncio.get_running_loop().call_later(0.05, os._exit, 11)
    return make_hello()
