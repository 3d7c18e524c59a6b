"""Clicks whose answer nobody will see: a newer one came, or whoever asked has gone away."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


class Stale(Exception):
    """This request's answer would not be shown."""


@dataclass(eq=False)
class _Turn:
    prompt_ids: frozenset[str]
    is_overtaken: bool = False


_current: ContextVar[_Turn | None] = ContextVar("turn", default=None)
_connection: ContextVar[socket.socket | None] = ContextVar("connection", default=None)


@contextmanager
def asked_on(connection: socket.socket | None) -> Iterator[None]:
    """The connection that this thread's request came on, where the server tells it."""
    token = _connection.set(connection)
    try:
        yield
    finally:
        _connection.reset(token)


def check() -> None:
    """Raises Stale if the answer of this thread's request is of no use any more."""
    turn = _current.get()
    if turn is not None and turn.is_overtaken:
        raise Stale
    check_connection()


def check_connection() -> None:
    """Raises Stale if nobody is there to read the answer of this thread's request.

    A client that only said that it will send no more looks the same. Label Studio's does not do
    that, and other servers take it for the end too.
    """
    connection = _connection.get()
    if connection is None or isinstance(connection, ssl.SSLSocket):  # which cannot be peeked into
        return
    try:
        if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            return
    except BlockingIOError:  # open and silent, as it should be
        return
    except OSError:
        pass
    raise Stale


class Turns:
    """The requests in progress, by what they point at (task and target).

    Two annotators may click in one task with one label. Only an annotator's own editor sends the
    prompts of the older request again, so without a common prompt none overtakes the other.
    """

    def __init__(self) -> None:
        self._turns: dict[Hashable, list[_Turn]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._turns.values()))

    @contextmanager
    def turn(self, place: Hashable, prompt_ids: frozenset[str]) -> Iterator[None]:
        """Registers a request; overtakes the older ones of the same annotator."""
        own = _Turn(prompt_ids)
        with self._lock:
            others = self._turns.setdefault(place, [])
            for other in others:
                if other.prompt_ids & prompt_ids:
                    other.is_overtaken = True
            others.append(own)
        token = _current.set(own)
        try:
            yield
        finally:
            _current.reset(token)
            with self._lock:
                others.remove(own)
                if not others:
                    self._turns.pop(place, None)
