"""What a process builds once and every request uses: engine, images, caches, state."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

from sam_backend import metrics
from sam_backend.clicks import existing_masks, label_config
from sam_backend.clicks.joining import Memory, ended, join, newest_draft
from sam_backend.clicks.label_config import ImageObject, LabelConfig
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.cores import cores
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.errors import Refusal
from sam_backend.formats.pictures import Pixels
from sam_backend.images import sources, upcoming_tasks
from sam_backend.images.fetching import Fetcher
from sam_backend.images.loader import Images
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.label_studio.trust import Belief
from sam_backend.lines import LONGEST_ID, shown
from sam_backend.settings import Settings
from sam_backend.shared import stale
from sam_backend.shared.latest_clicks import LatestClicks
from sam_backend.shared.scheduling import Schedule, ScheduledEngine
from sam_backend.shared.state import RefusalRecord, State

logger = logging.getLogger("sam_backend")


class Services:
    """Everything with a life longer than one request. Holds no image, task or user of its own."""

    def __init__(
        self, settings: Settings, model_version: str, open_engine: Callable[[], Engine]
    ) -> None:
        self.settings = settings
        self.model_version = model_version
        self.state = State.in_folder(settings.model_dir)
        self.objects = Objects()
        self.latest_clicks = LatestClicks()
        self._schedule = Schedule(encodes=1, decodes=cores())
        self.access = LabelStudioAccess(settings, self.state.connection, Belief(self.state))
        self.images = Images(settings, Fetcher(settings, self.access), self._schedule, self.engine)
        # In a thread, so that /health and /setup answer while a large model is being read.
        with_thread = ThreadPoolExecutor(1, thread_name_prefix="open-engine")
        self._engine = with_thread.submit(lambda: ScheduledEngine(open_engine(), self._schedule))
        with_thread.shutdown(wait=False)

    def engine(self) -> ScheduledEngine:
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
        image = config.image(target.to_name)
        embedding = self.image_embedding(project, task, image, target.item_index)
        if (embedding.width, embedding.height) != (target.width, target.height):
            raise Refusal(
                "image",
                f"the image is {embedding.width}x{embedding.height} pixels here, but "
                f"{target.width}x{target.height} in the browser: a mask would be shifted",
            )
        return embedding

    def image_embedding(
        self, project: str, task: Mapping[str, Any], image: ImageObject, item_index: int | None
    ) -> Embedding:
        """The embedding of one of a task's images."""
        return self.images.embedding(self._source(project, task, image, item_index))

    def pixels(
        self, project: str, task: Mapping[str, Any], image: ImageObject, item_index: int | None
    ) -> Pixels:
        """One of a task's images, RGB (H, W, 3)."""
        return self.images.pixels(self._source(project, task, image, item_index))

    def turn(
        self,
        project: str,
        task: Mapping[str, Any],
        config: LabelConfig,
        target: Target,
        prompts: tuple[Prompt, ...],
    ) -> AbstractContextManager[None]:
        """A request's turn, which a newer one with the same prompts overtakes."""
        place = (project, str(task.get("id")), target, _image_name(task, config, target))
        click = self.latest_clicks.begin(place, (prompt.id for prompt in prompts))
        return stale.overtaken_by(lambda: self.latest_clicks.is_overtaken(click))

    def wait_for_a_gap(self, deadline: float | None) -> None:
        """Returns when nobody clicks, or at a deadline of `time.monotonic()`."""
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        self._schedule.wait_for_a_gap(timeout)

    def opened(self, project: str, task: Mapping[str, Any], config: str) -> None:
        """An annotator opened a task: gets its images ready. Returns at once."""
        if existing_masks.has_masks(task):
            masks = f"masks of task {task.get('id')}"
            self.images.prefetcher.ask(masks, lambda: self.objects.read_ahead(task))
        with contextlib.suppress(Refusal):  # a click will say it
            for image in label_config.parse(config).different_images:
                self.images.prefetch(self._source(project, task, image, None))
            self._prefetch_next(project, task, config)

    def _prefetch_next(self, project: str, task: Mapping[str, Any], config: str) -> None:
        """Gets the images of the tasks after this one ready, when nobody waits for others."""
        count, task_id = self.settings.prefetch_next, task.get("id")
        label_studio = self.access.connection(project)
        if not count or not isinstance(task_id, int) or label_studio is None:
            return
        listing = upcoming_tasks.listing(label_studio, project, task_id, count)

        def ask() -> None:
            for later in upcoming_tasks.read(self.images.fetcher.fetch(listing).content):
                with contextlib.suppress(Refusal):
                    for image in label_config.parse(config).different_images:
                        source = self._source(project, later, image, None)
                        self.images.prefetch(source, behind=True)

        self.images.prefetcher.ask(f"tasks after {task_id}", ask, behind=True)

    def _source(
        self, project: str, task: Mapping[str, Any], image: ImageObject, item_index: int | None
    ) -> sources.Source:
        return sources.resolve(
            _image_value(task, image, item_index),
            str(task.get("id")),
            self.access.connection(project),
            self.settings.local_files_root,
        )

    def join(
        self,
        project: str,
        task: Mapping[str, Any],
        config: LabelConfig,
        target: Target,
        context: tuple[Prompt, ...],
    ) -> tuple[Prompt, ...]:
        """The prompts of the context with those seen before that are still on the image."""
        draft = newest_draft(task.get("drafts"))
        prompts = context

        def change(memory: Memory) -> Memory:
            nonlocal prompts
            prompts, after = join(context, memory, draft, time.time())
            return after

        image = _image_name(task, config, target)
        self.state.update_memory(project, str(task.get("id")), target, change, image)
        return prompts

    def ended(self, task_id: str) -> None:
        """No prompt of a task is left: its annotation was saved or deleted."""
        self.state.change_memories(task_id, ended)

    def report(self, where: str, refusal: Refusal) -> None:
        """One line in the log, one on the status page. `where` is `task 7` or `project 3`, say."""
        where = shown(where, LONGEST_ID)
        logger.warning("%s: %s", where, refusal)
        metrics.REFUSALS.labels(refusal.cause).inc()
        self.state.add_refusal(RefusalRecord(time.time(), where, refusal.cause, str(refusal)))


def _image_name(task: Mapping[str, Any], config: LabelConfig, target: Target) -> str:
    """Tells a task's image from another that it had before, or has under another project."""
    value = _image_value(task, config.image(target.to_name), target.item_index)
    return hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()


def _image_value(task: Mapping[str, Any], image: ImageObject, item_index: int | None) -> str:
    data = task.get("data")
    value = data.get(image.data_key) if isinstance(data, Mapping) else None
    if image.is_list and isinstance(value, list):
        index = item_index or 0
        value = value[index] if 0 <= index < len(value) else None
    if not isinstance(value, str) or not value:
        raise Refusal("image", f"the task's data has no image under {image.data_key!r}")
    return value
