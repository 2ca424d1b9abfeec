"""Serves for a moment, then ends by itself, while the file named in the environment exists.

The worker of fork_id SPARED, if one is named, lives.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hello import make_app as make_hello
from tornado.web import Application

import tornado_multi


async def make_app() -> Application:
    spared = os.environ.get("SPARED") == str(tornado_multi.fork_id())
    if Path(os.environ["DIE_WHILE"]).exists() and not spared:
        asyncio.get_running_loop().call_later(0.05, os._exit, 11)
    return make_hello()
