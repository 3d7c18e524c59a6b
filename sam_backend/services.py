"""What a process builds once and every request uses: engine, images, caches, state."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sam_backend import metrics, pictures, sources
from sam_backend.embeddings import Embeddings
from sam_backend.engine import Embedding, Engine
from sam_backend.errors import Refusal
from sam_backend.fetching import Fetcher
from sam_backend.joining import Memory, accepted, ended, join, newest_draft
from sam_backend.label_config import LabelConfig
from sam_backend.label_studio import LabelStudioAccess
from sam_backend.prompts import Prompt, Target
from sam_backend.settings import Settings
from sam_backend.state import RefusalRecord, State

logger = logging.getLogger("sam_backend")


class Services:
    """Everything with a life longer than one request. Holds no image, task or user of its own."""

    def __init__(
        self, settings: Settings, model_version: str, open_engine: Callable[[], Engine]
    ) -> None:
        self.settings = settings
        self.model_version = model_version
        self.state = State.in_folder(settings.model_dir)
        self.embeddings = Embeddings(settings.cache_mb << 20)
        self.access = LabelStudioAccess(settings, self.state.connection)
        self._fetcher = Fetcher(self.access)
        # In a thread, so that /health and /setup answer while a large model is being read.
        with_thread = ThreadPoolExecutor(1, thread_name_prefix="open-engine")
        self._engine = with_thread.submit(open_engine)
        with_thread.shutdown(wait=False)

    def engine(self) -> Engine:
        """The engine; waits for it while it is being opened."""
        return self._engine.result()

    @property
    def engine_state(self) -> str:
        if not self._engine.done():
            return "loading"
        error = self._engine.exception()
        return f"failed: {error}" if error else "ready"

    def embedding(
        self, project: str, task: Mapping[str, Any], config: LabelConfig, target: Target
    ) -> Embedding:
        """The embedding of the image that a target lies on; at the size that the browser shows."""
        source = sources.resolve(
            _image_value(task, config, target),
            str(task.get("id")),
            self.access.connection(project),
            self.settings.local_files_root,
        )
        embedding = self.embeddings.get(source.key, lambda: self._encode(source))
        metrics.CACHE_BYTES.set(self.embeddings.nbytes)
        if (embedding.width, embedding.height) != (target.width, target.height):
            raise Refusal(
                "image",
                f"the image is {embedding.width}x{embedding.height} pixels here, but "
                f"{target.width}x{target.height} in the browser: a mask would be shifted",
            )
        return embedding

    def _encode(self, source: sources.Source) -> Embedding:
        with metrics.STAGE.labels("fetch").time():
            content = self._fetcher.fetch(source)
        with metrics.STAGE.labels("picture").time():
            pixels = pictures.decode(content)
        engine = self.engine()
        with metrics.STAGE.labels("encode").time():
            return engine.encode(pixels)

    def join(
        self, project: str, task: Mapping[str, Any], target: Target, context: tuple[Prompt, ...]
    ) -> tuple[Prompt, ...]:
        """The prompts of the context with those seen before that are still on the image."""
        draft = newest_draft(task.get("drafts"))
        prompts = context

        def change(memory: Memory) -> Memory:
            nonlocal prompts
            prompts, after = join(context, memory, draft, time.time())
            return after

        self.state.update_memory(project, str(task.get("id")), target, change)
        return prompts

    def accepted(self, task_id: str) -> None:
        """The editor says that no prompt of a task is left: its masks were accepted."""
        self.state.change_memories(task_id, accepted)

    def ended(self, task_id: str) -> None:
        """Label Studio says that a task's annotation was saved or deleted."""
        self.state.change_memories(task_id, ended)

    def report(self, task_id: str, refusal: Refusal) -> None:
        """One line in the log, one on the status page."""
        logger.warning("task %s: %s", task_id, refusal)
        metrics.REFUSALS.labels(refusal.cause).inc()
        self.state.add_refusal(RefusalRecord(time.time(), task_id, refusal.cause, str(refusal)))


def _image_value(task: Mapping[str, Any], config: LabelConfig, target: Target) -> str:
    image = config.image(target.to_name)
    data = task.get("data")
    value = data.get(image.data_key) if isinstance(data, Mapping) else None
    if image.is_list and isinstance(value, list):
        index = target.item_index or 0
        value = value[index] if 0 <= index < len(value) else None
    if not isinstance(value, str) or not value:
        raise Refusal("image", f"the task's data has no image under {image.data_key!r}")
    return value
