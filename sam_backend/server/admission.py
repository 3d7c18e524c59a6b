"""Limits the requests that are answered at once and that wait. Further requests get a 503."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from werkzeug.exceptions import ServiceUnavailable

from sam_backend import metrics
from sam_backend.errors import Refusal

# Waiting clicks for each click that is served. When eight annotators click at once, a click on a
# cached image takes 0.2 s, so the last one in the queue waits for a second. A 503 would not help
# sooner, because Label Studio does not display it.
WAITING_FOR_EACH = 4
# Label Studio's webhooks carry no credentials. Few are read at once, to limit their memory.
WEBHOOKS_AT_ONCE = 2
# Threads that clicks and webhooks never use, so that /health, /setup and refusals are always
# answered at once.
SPARE_THREADS = 8

RETRY_AFTER_S = 2

# Everything in a picture takes seconds, so each worker looks for it once at a time.
EVERYTHING_AT_ONCE = 1
# Clicks and batches carry all masks of a task, and programs send pictures. A webhook carries one
# saved annotation. With a hundred brush masks, it has 15 MB.
LARGE_BODIES = (
    "/predict",
    "/v1/embed",
    "/v1/segment",
    "/v1/everything",
    "/v1/find-similar",
    "/sam2/embed_image",
    "/sam2/segment_image",
)
MAX_OTHER_BODY_MB = 64
_SAY_AGAIN_AFTER_S = 1.0


def body_limit(path: str, largest: int) -> int:
    """The limit for the body of a request, in bytes. `largest` is the limit for a click."""
    return largest if path in LARGE_BODIES else min(largest, MAX_OTHER_BODY_MB << 20)


def share_of_memory(path: str) -> str:
    """Requests of one name share what their bodies may take together.

    A webhook needs no password: however many come, they take no room from clicks.
    """
    return path if path in ("/predict", "/webhook") else "others"


def threads_for(clicks: int) -> int:
    """The number of threads of a worker, so that requests only ever wait for an admission."""
    return SPARE_THREADS + (clicks + WEBHOOKS_AT_ONCE + EVERYTHING_AT_ONCE) * (1 + WAITING_FOR_EACH)


class Admission:
    """Admits `slots` requests at once and lets four times as many wait. It refuses further ones.

    `on_refusal` is called at most once a second.
    """

    def __init__(self, name: str, slots: int, on_refusal: Callable[[str, Refusal], None]) -> None:
        self._name = name
        self.slots = slots
        self.waiting = slots * WAITING_FOR_EACH
        self._on_refusal = on_refusal
        self._free = threading.Semaphore(slots)
        self._lock = threading.Lock()
        self._inside = 0
        self._said = 0.0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Waits for a slot and holds it. ServiceUnavailable (503) if too many wait already."""
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
            "Retry in a moment, or raise WORKERS if the machine has more cores"
        )
        if is_news:
            self._on_refusal(self._name, Refusal("busy", message))
        else:
            metrics.REFUSALS.labels("busy").inc()
        raise ServiceUnavailable(message, retry_after=RETRY_AFTER_S)

    def _count(self, change: int) -> None:
        self._inside += change
        metrics.QUEUE.labels(self._name).set(self._inside)
