"""The images of tasks: their embeddings and pixels, for clicks now and for tasks opened ahead."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from sam_backend.clicks import label_config
from sam_backend.engines.protocol import Embedding
from sam_backend.errors import Refusal
from sam_backend.formats.pictures import Pixels
from sam_backend.images import sources, upcoming_tasks
from sam_backend.images.loader import Images
from sam_backend.images.sources import Picture, Source
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.machines.common_store import CommonStore
from sam_backend.settings import Settings
from sam_backend.shared.loading_engine import LoadingEngine
from sam_backend.shared.projects import Project


class TaskImages:
    """Finds the source of a task's image, and loads the image."""

    def __init__(
        self,
        settings: Settings,
        access: LabelStudioAccess,
        engine: LoadingEngine,
        common_store: CommonStore | None = None,
    ) -> None:
        self._local_files_root = settings.local_files_root
        self._prefetch_next = settings.prefetch_next
        self._access = access
        self.images = Images(settings, access, engine, common_store)

    def embedding(self, picture: Picture, browser_size: tuple[int, int] | None = None) -> Embedding:
        """The embedding of a picture. Refusal if its size differs from the browser's, if given."""
        embedding = self.images.embedding(self._source(picture))
        if browser_size is not None and (embedding.width, embedding.height) != browser_size:
            raise Refusal(
                "image",
                f"the image is {embedding.width}x{embedding.height} pixels here, but "
                f"{browser_size[0]}x{browser_size[1]} in the browser: a mask would be shifted",
            )
        return embedding

    def pixels(self, picture: Picture) -> Pixels:
        """The pixels of a picture, RGB (H, W, 3)."""
        return self.images.pixels(self._source(picture))

    def prefetch(self, project: Project, task: Mapping[str, Any], config: str) -> None:
        """Prepares the images of a task and of the tasks after it. Returns at once."""
        with contextlib.suppress(Refusal):  # a click will report it
            self._prefetch(project, task, config, behind=False)
            self._prefetch_later(project, task, config)

    def _prefetch(
        self, project: Project, task: Mapping[str, Any], config: str, *, behind: bool
    ) -> None:
        for image in label_config.parse(config).different_images:
            source = self._source(Picture(project, task, image))
            self.images.prefetch(source, behind=behind)

    def _prefetch_later(self, project: Project, task: Mapping[str, Any], config: str) -> None:
        """Prepares the tasks after this one when nothing else is in the queue."""
        count, task_id = self._prefetch_next, task.get("id")
        label_studio = self._access.connection(project.from_setup)
        if not count or not isinstance(task_id, int) or label_studio is None:
            return
        listing = upcoming_tasks.listing(label_studio, project.id, task_id, count)

        def ask() -> None:
            for later in upcoming_tasks.read(self.images.fetcher.fetch(listing).content):
                with contextlib.suppress(Refusal):
                    self._prefetch(project, later, config, behind=True)

        self.images.prefetcher.ask(f"tasks after {task_id}", ask, behind=True)

    def _source(self, picture: Picture) -> Source:
        return sources.resolve(
            picture.address,
            picture.task_id,
            self._access.connection(picture.project.from_setup),
            self._local_files_root,
        )
