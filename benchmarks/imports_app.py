"""An app with the imports that services have, and nothing connected."""

from __future__ import annotations

import httpx
import numpy as np
import psycopg
import redis
import requests
import sqlalchemy.orm
from tornado.web import Application

IMPORTED = (httpx, np, psycopg, redis, requests, sqlalchemy.orm)


def make_app() -> Application:
    return Application([])
