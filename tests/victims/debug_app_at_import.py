"""Asks for Tornado's autoreload when it is imported."""

from debug_app import Hello
from tornado.web import Application

application = Application([("/", Hello)], debug=True)
