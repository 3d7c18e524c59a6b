"""Any number of threads that want the same thing at once: one makes it, the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Keeps nothing: who comes after the maker is done makes it again, or finds it in a cache."""

    def __init__(self) -> None:
        self._flights: dict[str, Future[T]] = {}
        self._lock = threading.Lock()

    def do(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns or raises, here or in the thread that was first."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                own = self._flights[key] = Future[T]()
        if flight is not None:
            return flight.result()
        try:
            own.set_result(make())
        except BaseException as error:
            own.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[key]
        return own.result()

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._flights
