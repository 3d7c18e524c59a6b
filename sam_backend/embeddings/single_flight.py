"""Several threads need the same value at once: one makes it, and the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from sam_backend.shared.stale import Stale

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Keeps no value: a thread that comes later makes it again, or finds it in a cache."""

    def __init__(self) -> None:
        self._flights: dict[str, Future[T]] = {}
        self._lock = threading.Lock()

    def do(self, key: str, make: Callable[[], T]) -> T:
        """The result of `make`, or its error, from this thread or from the thread that was first.

        If the first thread gives up (Stale), one of the others takes over.
        """
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    own = self._flights[key] = Future[T]()
                    break
            try:
                return flight.result()
            except Stale:
                continue
        try:
            made = make()
        except BaseException as error:
            self._end(key)
            own.set_exception(error)
            raise
        self._end(key)
        own.set_result(made)
        return made

    def _end(self, key: str) -> None:
        # Before the others wake up, so that the next maker does not find this flight again.
        with self._lock:
            del self._flights[key]
