"""Dubbo from Tornado: the protocols without I/O, and the client on them."""
