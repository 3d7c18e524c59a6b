"""Limits the requests that are answered at once and that wait. Further requests get a 503.

A click is also refused if it would be answered too late, as `shared/waiting.py` finds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from werkzeug.exceptions import ServiceUnavailable

from sam_backend import metrics
from sam_backend.errors import Busy, Refusal
from sam_backend.shared import waiting
from sam_backend.shared.waiting import Pace

# The most waiting requests for each one that is served. It bounds threads and memory.
WAITING_FOR_EACH = 4
# Batches work in the gaps between clicks, for up to a minute each.
BATCHES_AT_ONCE = 2
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
    "/v1/segment-text",
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


def memory_of(share: str, largest: int) -> int:
    """What the bodies of a share may take together, in bytes. `largest` is the limit for a click.

    A small request must not push out a large one that shares its memory.
    """
    return 2 * (body_limit(share, largest) if share == "/webhook" else largest)


def threads_for(clicks: int) -> int:
    """The number of threads of a worker, so that requests only ever wait for an admission."""
    return (
        SPARE_THREADS
        + (clicks + WEBHOOKS_AT_ONCE + EVERYTHING_AT_ONCE) * (1 + WAITING_FOR_EACH)
        + BATCHES_AT_ONCE
    )


class Admission:
    """Admits `slots` requests at once and lets some others wait. It refuses further ones.

    With `patience_s`, it also refuses a request that would not be answered within these seconds.
    `on_refusal` is called at most once a second.
    """

    def __init__(
        self,
        name: str,
        slots: int,
        on_refusal: Callable[[str, Refusal], None],
        *,
        waiting_for_each: int = WAITING_FOR_EACH,
        patience_s: float = math.inf,
    ) -> None:
        self._name = name
        self.slots = slots
        self.waiting = slots * waiting_for_each
        self._on_refusal = on_refusal
        self._patience_s = patience_s
        self._pace = Pace()
        self._free = threading.Semaphore(slots)
        self._lock = threading.Lock()
        self._inside = 0
        self._said = 0.0

    @property
    def has_queue(self) -> bool:
        """Whether a request that came now would wait."""
        return self._inside >= self.slots

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Waits for a slot and holds it. ServiceUnavailable (503) if that would take too long."""
        self._enter()
        try:
            with waiting.at_most(self._patience_s), self._free:
                started = time.monotonic()
                try:
                    yield
                finally:
                    # One that took longer than anybody waits says little about the others.
                    self._pace.took(min(time.monotonic() - started, self._patience_s))
        except Busy as late:
            self.refuse(str(late), max(RETRY_AFTER_S, late.retry_after_s))
        finally:
            with self._lock:
                self._count(-1)

    def refuse(self, message: str, retry_after: int = RETRY_AFTER_S) -> NoReturn:
        """Refuses a request with ServiceUnavailable (503)."""
        with self._lock:
            now = time.monotonic()
            is_news = now - self._said > _SAY_AGAIN_AFTER_S
            self._said = now if is_news else self._said
        if is_news:
            self._on_refusal(self._name, Refusal("busy", message))
        else:
            metrics.REFUSALS.labels("busy").inc()
        raise ServiceUnavailable(message, retry_after=retry_after)

    def _enter(self) -> None:
        with self._lock:
            ahead = self._inside
            is_room = ahead < self.slots + self.waiting
            if is_room and waiting.is_in_time(ahead, self.slots, self._pace, self._patience_s):
                self._count(1)
                return
        waits = waiting.wait(ahead, self.slots, self._pace)
        self.refuse(
            f"too busy: {min(ahead, self.slots)} requests are being answered and "
            f"{max(0, ahead - self.slots)} wait. "
            "Retry in a moment, or raise WORKERS if the machine has more cores",
            max(RETRY_AFTER_S, math.ceil(waits)),
        )

    def _count(self, change: int) -> None:
        self._inside += change
        metrics.QUEUE.labels(self._name).set(self._inside)
