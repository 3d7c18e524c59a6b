"""Clients that drip headers and bodies, beside clicks: the clicks are answered as if alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.held import LIMIT_S, Held, running
from tests.needs import needs_weights

pytestmark = needs_weights

HEADERS = b"POST /predict HTTP/1.1\r\nHost: s\r\nX-Slow: "
BODY = (
    b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100000\r\n\r\n{"
)


@contextmanager
def dripping(held: Held, beginnings: list[bytes], every_s: float = 1.0) -> Iterator[None]:
    """Clients that each send a beginning, and then a byte now and then; they come again."""
    over = threading.Event()

    def connect(beginning: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", held.port), timeout=LIMIT_S)
        connection.sendall(beginning)
        return connection

    connections = [connect(beginning) for beginning in beginnings]

    def drip() -> None:
        while not over.wait(every_s):
            for n, connection in enumerate(connections):
                try:
                    connection.sendall(b" ")
                except OSError:
                    connection.close()
                    connections[n] = connect(beginnings[n])

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for connection in connections:
            connection.close()


def test_clicks_are_answered_beside_sixty_slow_headers_and_sixteen_slow_bodies(
    tmp_path: Path,
) -> None:
    with running(tmp_path, THREADS="2") as held:
        held.go()
        with dripping(held, [HEADERS] * 60 + [BODY] * 16):
            for task in range(20):
                assert held.click(task, 10).json()["results"][0]["result"]
            assert held.queue("clicks") == 0, "none of the slow ones has a slot"
