"""The order of work on the model: clicks in the order of arrival, prefetches in between."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from sam_backend import metrics, watched_click
from sam_backend.cores import cores
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.errors import Busy
from sam_backend.formats.pictures import Pixels
from sam_backend.shared import click_budget, stale, waiting
from sam_backend.shared.waiting import Pace

OpenEngine = Callable[[], Engine]


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


class ScheduledEngine:
    """An engine whose decodes take turns. A click that became useless meanwhile raises Stale."""

    def __init__(self, engine: Engine, schedule: Schedule) -> None:
        self.name = engine.name
        self.facts = engine.facts
        # Names the engine's weights and preprocessing. Without it, the embeddings on disk could
        # come from another model, so they stay in memory.
        self.fingerprint: str | None = getattr(engine, "fingerprint", None)
        self._engine = engine
        self._schedule = schedule

    def encode(self, image: Pixels) -> Embedding:
        # An overtaken click still encodes, because the newer click waits for the same image.
        stale.check_connection()
        return self._engine.encode(image)

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        with self._schedule.decode():
            stale.check()
            click_budget.spend()
            return self._engine.decode(embedding, points, labels, box, mask_input)


class LoadingEngine:
    """The engine of a process, which is opened in a thread of its own.

    So `/health` and `/setup` answer while a large model is being read.
    """

    def __init__(self, open_engine: OpenEngine) -> None:
        self.schedule = Schedule(encodes=1, decodes=cores())
        thread = ThreadPoolExecutor(1, thread_name_prefix="open-engine")
        self._engine = thread.submit(lambda: ScheduledEngine(open_engine(), self.schedule))
        thread.shutdown(wait=False)

    def ready(self) -> ScheduledEngine:
        """The engine; waits for it while it is being opened."""
        return self._engine.result()

    @property
    def name(self) -> str:
        """The engine's name; of one that is not open, there is none yet."""
        is_open = self._engine.done() and self._engine.exception() is None
        return self._engine.result().name if is_open else ""

    @property
    def state(self) -> str:
        if not self._engine.done():
            return "loading"
        error = self._engine.exception()
        return f"failed: {error}" if error else "ready"
