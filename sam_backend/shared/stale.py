"""Clicks whose answer nobody will see: a newer one came, or whoever asked has gone away."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Connection(Protocol):
    """What a client's connection must be able to do to be looked at."""

    def recv(self, size: int, flags: int, /) -> bytes: ...


class Stale(Exception):
    """This request's answer would not be shown."""


_is_overtaken: ContextVar[Callable[[], bool]] = ContextVar("is_overtaken", default=lambda: False)
_connection: ContextVar[Connection | None] = ContextVar("connection", default=None)


@contextmanager
def asked_on(connection: Connection | None) -> Iterator[None]:
    """The connection that this thread's request came on, where the server tells it."""
    token = _connection.set(connection)
    try:
        yield
    finally:
        _connection.reset(token)


def check() -> None:
    """Raises Stale if the answer of this thread's request is of no use any more."""
    if _is_overtaken.get()():
        raise Stale
    check_connection()


def check_connection() -> None:
    """Raises Stale if nobody is there to read the answer of this thread's request.

    A client that only said that it will send no more looks the same. Label Studio's does not do
    that, and other servers take it for the end too.
    """
    connection = _connection.get()
    if connection is None:
        return
    try:
        if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            return
    except BlockingIOError:  # open and silent, as it should be
        return
    except OSError:
        pass
    raise Stale


@contextmanager
def overtaken_by(is_overtaken: Callable[[], bool]) -> Iterator[None]:
    """Says how this thread's request finds out that a newer one came."""
    token = _is_overtaken.set(is_overtaken)
    try:
        yield
    finally:
        _is_overtaken.reset(token)
