"""A child uses the parent's TLS connection: the ciphers' counters part, and the server hangs up."""

from __future__ import annotations

import os
import socket
import ssl

ADDRESS = ("127.0.0.1", int(os.environ["ECHO_TLS_PORT"]))
CONTEXT = ssl.create_default_context(cafile=os.environ["ECHO_TLS_CA"])
TCP = socket.create_connection(ADDRESS, 20)
SOCK = CONTEXT.wrap_socket(TCP, server_hostname="localhost")  # hazard: tls-socket


def ask(line: bytes) -> str:
    SOCK.sendall(line)
    return SOCK.recv(100).decode()


ask(b"hello\n")


def in_child(_index: int) -> str:
    return ask(b"from the child\n")


def in_parent() -> str:
    return ask(b"from the parent\n")
