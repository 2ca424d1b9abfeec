"""Asks for Tornado's autoreload."""

from tornado.web import Application, RequestHandler


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("hello")


def make_app() -> Application:
    return Application([("/", Hello)], debug=True)
