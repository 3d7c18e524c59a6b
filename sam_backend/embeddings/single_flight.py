"""Any number of threads that want the same thing at once: one makes it, the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from sam_backend.shared.stale import Stale

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Keeps nothing: who comes after the maker is done makes it again, or finds it in a cache."""

    def __init__(self) -> None:
        self._flights: dict[str, Future[T]] = {}
        self._lock = threading.Lock()

    def do(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns or raises, here or in the thread that was first.

        A first one that gives up (Stale) does so for itself alone: one of the others takes over.
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
        # Before the others hear of it, so that who takes over does not find this flight again.
        with self._lock:
            del self._flights[key]
