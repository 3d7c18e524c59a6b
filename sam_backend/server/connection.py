"""A client of the worker: its socket, its incoming request and its outgoing answer."""

from __future__ import annotations

import socket
import time
from typing import Any

from sam_backend.server.receiving import Incoming


class Outbox:
    """A client's connection for the app: it collects the answer, and never blocks."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unsent = bytearray()

    def recv(self, size: int, flags: int) -> bytes:
        return self._connection.recv(size, flags)

    def sendall(self, data: bytes) -> None:
        self._unsent += data

    def put(self, data: bytes) -> None:
        """Replaces the collected answer."""
        self._unsent[:] = data

    def is_sent(self) -> bool:
        """Sends as much as possible now. True if all is sent. OSError if the client left."""
        while self._unsent:
            try:
                del self._unsent[: self._connection.send(self._unsent)]
            except BlockingIOError:
                return False
        return True


class Connection:
    """A client, with its incoming request and its outgoing answer."""

    def __init__(self, connection: socket.socket, client: Any, server: Any, incoming: Incoming):
        self.connection = connection
        self.sock = Outbox(connection)  # gunicorn's name for the socket
        self.client = client
        self.server = server
        self.incoming = incoming
        self.is_answered = False
        self.charged = 0  # bytes of the request that count towards the worker's limit
        self.begun = self.heard = time.monotonic()
