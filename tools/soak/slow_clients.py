"""Clients that send a byte now and then, and never finish."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HEADER = b"POST /predict HTTP/1.1\r\nHost: sam\r\n"
BODY = HEADER + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n" + b'{"tasks": ['


@dataclass
class Slow:
    """The results of the connections."""

    opened: int = 0
    ended: int = 0  # by the server
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def senders(port: int, count: int, start: bytes, drop: bytes, every_s: float) -> Iterator[Slow]:
    """Clients that send a start and then single bytes. A new client replaces a disconnected one."""
    slow = Slow()
    thread = threading.Thread(target=_drip, args=(slow, port, count, start, drop, every_s))
    thread.start()
    try:
        yield slow
    finally:
        slow.over.set()
        thread.join()


def _drip(slow: Slow, port: int, count: int, start: bytes, drop: bytes, every_s: float) -> None:
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        due = 0.0
        alive = set[socket.socket]()
        while not slow.over.is_set():
            while len(alive) < count:
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
                connection.sendall(start)
                selector.register(connection, selectors.EVENT_READ)
                alive.add(connection)
                slow.opened += 1
            if time.monotonic() >= due:
                due = time.monotonic() + every_s
                for connection in alive:
                    with contextlib.suppress(OSError):  # its end is read below
                        connection.send(drop)
            for key, _ in selector.select(0.1):
                _read(slow, selector, alive, key.fileobj)  # type: ignore[arg-type]


def _read(
    slow: Slow,
    selector: selectors.BaseSelector,
    alive: set[socket.socket],
    connection: socket.socket,
) -> None:
    with contextlib.suppress(OSError):
        if connection.recv(1 << 16):
            return  # an answer, which its end follows
    selector.unregister(connection)
    connection.close()
    alive.discard(connection)
    slow.ended += 1
