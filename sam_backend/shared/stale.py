"""Clicks whose answer nobody will see: a newer click came, or the client disconnected."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class ClientSocket(Protocol):
    """The part of a client's socket that tells whether the client is still there."""

    def recv(self, size: int, flags: int, /) -> bytes: ...


class Stale(Exception):
    """Nobody will see the answer of this request."""


_is_overtaken: ContextVar[Callable[[], bool]] = ContextVar("is_overtaken", default=lambda: False)
_connection: ContextVar[ClientSocket | None] = ContextVar("connection", default=None)


@contextmanager
def asked_on(connection: ClientSocket | None) -> Iterator[None]:
    """Sets the connection of this thread's request, if the server knows it."""
    token = _connection.set(connection)
    try:
        yield
    finally:
        _connection.reset(token)


def check() -> None:
    """Raises Stale if nobody will see the answer of this thread's request."""
    if _is_overtaken.get()():
        raise Stale
    check_connection()


def check_connection() -> None:
    """Raises Stale if the client of this thread's request has disconnected.

    A client that only closed its sending half looks the same. Label Studio never does that, and
    other servers also treat it as a disconnect.
    """
    connection = _connection.get()
    if connection is None:
        return
    try:
        if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            return
    except BlockingIOError:  # open and silent, as expected
        return
    except OSError:
        pass
    raise Stale


@contextmanager
def overtaken_by(is_overtaken: Callable[[], bool]) -> Iterator[None]:
    """Sets the test by which this thread's request learns of a newer one."""
    token = _is_overtaken.set(is_overtaken)
    try:
        yield
    finally:
        _is_overtaken.reset(token)
