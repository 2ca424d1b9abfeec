"""A client of the account service, made as many are: one connection, which it takes to be its own."""

import socket
from dataclasses import dataclass

from demo_app.account_service import REPLY, REQUEST

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service has said."""

    account_id: int
    owner: str


class AccountClient:
    """One connection; a call that fails gives it up, and the next call connects anew.

    Not for more than one thread or process at a time: whoever reads first has the reply.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take a connection to the service; this client closes it."""
        self._address = connection.getpeername()
        self._socket: socket.socket | None = None
        self._keep(connection)

    def find(self, account_id: int) -> Reply:
        """Ask for one account.

        Raises:
            OSError: the service can't be reached, or the connection broke.

        Blocks: for the time of one reply, some milliseconds.
        """
        if self._socket is None:
            self._keep(socket.create_connection(self._address, timeout=TIMEOUT_S))
        assert self._socket is not None
        try:
            self._socket.sendall(REQUEST.pack(account_id))
            account_id, owner = REPLY.unpack(self._read(REPLY.size))
        except OSError:
            self.close()
            raise
        return Reply(account_id, owner.rstrip(b"\0").decode())

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _keep(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        self._socket = connection

    def _read(self, size: int) -> bytes:
        assert self._socket is not None
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                message = "the account service has closed the connection"
                raise ConnectionError(message)
            data += piece
        return data
