"""Stops asking a server that does not answer, and tries it again after a pause.

It is written by hand: pybreaker holds a lock during each call, so that one click would wait for the
question of another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Closed: all may ask. Open: nobody may, except one trial after each pause."""

    def __init__(
        self, most_failures: int, pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_failures = most_failures
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0  # in a row
        self._trial_at = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._failures >= self._most_failures

    def allows(self) -> bool:
        """Whether to ask now. Each yes is followed by `succeeded` or `failed`."""
        with self._lock:
            if not self.is_open:
                return True
            if self._clock() < self._trial_at:
                return False
            self._trial_at = self._clock() + self._pause_s  # the others wait for this trial
            return True

    def succeeded(self) -> bool:
        """True if this closes the breaker."""
        with self._lock:
            closes, self._failures = self.is_open, 0
            return closes

    def failed(self) -> bool:
        """True if this opens the breaker."""
        with self._lock:
            was_open = self.is_open
            self._failures += 1
            self._trial_at = self._clock() + self._pause_s
            return self.is_open and not was_open
