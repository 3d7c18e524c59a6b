"""The order of work on the model: clicks in the order of arrival, prefetches in between."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from sam_backend import metrics, watched_click
from sam_backend.errors import Busy
from sam_backend.shared import waiting
from sam_backend.shared.waiting import Pace


class Schedule:
    """Slots for the encodes and decodes of clicks, and the gaps between them for prefetches.

    More runs at once would only make each other slower. A click waits for a prefetch only if that
    prefetch already encodes the click's own image.
    """

    def __init__(self, encodes: int, decodes: int) -> None:
        self._changed = threading.Condition()
        self._encodes = _Queue("encode", encodes, deque())
        self._decodes = _Queue("decode", decodes, deque())

    def encode(self) -> AbstractContextManager[None]:
        """A click's slot to encode, first come, first served. Busy if it would end too late."""
        return self._slot(self._encodes)

    def decode(self) -> AbstractContextManager[None]:
        """A click's slot to decode, first come, first served."""
        return self._slot(self._decodes)

    @property
    def clicks(self) -> int:
        """The number of clicks that encode, decode or wait."""
        with self._changed:
            return sum(len(queue.waiting) + queue.busy for queue in (self._encodes, self._decodes))

    def wait_for_a_gap(self, timeout: float | None = None) -> None:
        """Waits until no click encodes, decodes or waits, or for `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._encodes.is_idle and self._decodes.is_idle, timeout)

    @contextmanager
    def _slot(self, queue: _Queue) -> Iterator[None]:
        ticket = object()
        with self._changed:
            queue.refuse_if_late()
            queue.waiting.append(ticket)
            queue.report()
            with watched_click.stage("queue"):
                self._changed.wait_for(
                    lambda: queue.busy < queue.slots and queue.waiting[0] is ticket
                )
            queue.waiting.popleft()
            queue.busy += 1
            self._changed.notify_all()  # the next click may have a slot too
        started = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                queue.pace.took(time.monotonic() - started)
                queue.busy -= 1
                queue.report()
                self._changed.notify_all()


@dataclass
class _Queue:
    name: str
    slots: int
    waiting: deque[object]
    busy: int = 0
    pace: Pace = field(default_factory=Pace)

    def refuse_if_late(self) -> None:
        """Busy if a click that comes now would end too late."""
        ahead = len(self.waiting) + self.busy
        if waiting.is_in_time(ahead, self.slots, self.pace, waiting.left()):
            return
        waits = waiting.wait(ahead, self.slots, self.pace)
        message = (
            f"too busy: {ahead} other clicks have to {self.name} first, which takes {waits:.1f} s. "
            "Click again in a moment"
        )
        raise Busy(message, math.ceil(waits))

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.busy

    def report(self) -> None:
        metrics.QUEUE.labels(self.name).set(len(self.waiting) + self.busy)
