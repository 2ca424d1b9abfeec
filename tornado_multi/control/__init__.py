"""The control socket: protocol without I/O, the server's side, the commands' side, and paths.

Must not know: how the supervisor answers. The server is given a handler.
"""
