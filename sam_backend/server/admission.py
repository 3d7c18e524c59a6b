"""More requests than can be answered: so many at once, so many waiting, a quick no to others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from werkzeug.exceptions import ServiceUnavailable

from sam_backend import metrics
from sam_backend.errors import Refusal

# Of clicks that wait, for each that is served. A click on an image seen before takes 0.2 s when
# eight annotators click at once, so the last one in the queue waits for a second; one that is
# told to come again waits no less, and nobody sees what it was told.
WAITING_FOR_EACH = 4
# Label Studio's webhooks carry no credentials: few at once, so that nobody fills the memory.
WEBHOOKS_AT_ONCE = 2
# Threads that no click and no webhook ever takes: /health, /setup and refusals are answered at
# once, however busy the others are.
SPARE_THREADS = 8

RETRY_AFTER_S = 2

# Only clicks and batches carry all masks of a task. A webhook carries one saved annotation; with a
# hundred brush masks that is 15 MB.
MAX_OTHER_BODY_MB = 64
_SAY_AGAIN_AFTER_S = 1.0


def body_limit(path: str, largest: int) -> int:
    """How many bytes the body of a request may have, where `largest` is the limit of a click."""
    return largest if path == "/predict" else min(largest, MAX_OTHER_BODY_MB << 20)


def threads_for(clicks: int) -> int:
    """How many threads a worker needs, so that an admission is the only place to wait at."""
    return SPARE_THREADS + (clicks + WEBHOOKS_AT_ONCE) * (1 + WAITING_FOR_EACH)


class Admission:
    """Lets in so many requests at once and four times as many to wait; the next one is refused.

    `told` hears of those that are refused, at most once a second.
    """

    def __init__(self, name: str, slots: int, told: Callable[[str, Refusal], None]) -> None:
        self._name = name
        self.slots = slots
        self.waiting = slots * WAITING_FOR_EACH
        self._told = told
        self._free = threading.Semaphore(slots)
        self._lock = threading.Lock()
        self._inside = 0
        self._said = 0.0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A slot, as soon as there is one. ServiceUnavailable (503) if too many wait already."""
        self._enter()
        try:
            with self._free:
                yield
        finally:
            with self._lock:
                self._count(-1)

    def _enter(self) -> None:
        with self._lock:
            if self._inside < self.slots + self.waiting:
                self._count(1)
                return
            now = time.monotonic()
            is_news = now - self._said > _SAY_AGAIN_AFTER_S
            self._said = now if is_news else self._said
        message = (
            f"too busy: {self.slots} requests are being answered and {self.waiting} wait. "
            "Come again in a moment; more WORKERS take more at once"
        )
        if is_news:
            self._told(self._name, Refusal("busy", message))
        else:
            metrics.REFUSALS.labels("busy").inc()
        raise ServiceUnavailable(message, retry_after=RETRY_AFTER_S)

    def _count(self, change: int) -> None:
        self._inside += change
        metrics.QUEUE.labels(self._name).set(self._inside)
