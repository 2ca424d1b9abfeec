"""Keep-alive clients: those that the package gives to users."""

from tornado_multi.testing.load import KeepAliveClient, Load

__all__ = ["KeepAliveClient", "Load"]
