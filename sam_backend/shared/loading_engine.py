"""The engine of a process: it is opened in the background, and its decodes take turns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sam_backend.cores import cores
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels
from sam_backend.shared import click_budget, stale
from sam_backend.shared.scheduling import Schedule

logger = logging.getLogger("sam_backend")

OpenEngine = Callable[[], Engine]


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
        self._engine = thread.submit(self._open, open_engine)
        thread.shutdown(wait=False)

    def _open(self, open_engine: OpenEngine) -> ScheduledEngine:
        try:
            return ScheduledEngine(open_engine(), self.schedule)
        except SettingsError as error:  # some are known only now, such as a device
            logger.error("the model cannot be opened, so no click gets a mask: %s", error)  # noqa: TRY400
            raise

    def ready(self) -> ScheduledEngine:
        """The engine. Waits while it is being opened."""
        return self._engine.result()

    @property
    def name(self) -> str:
        """The engine's name. Empty while the engine is not open."""
        is_open = self._engine.done() and self._engine.exception() is None
        return self._engine.result().name if is_open else ""

    @property
    def state(self) -> str:
        if not self._engine.done():
            return "loading"
        error = self._engine.exception()
        return f"failed: {error}" if error else "ready"
