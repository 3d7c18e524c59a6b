"""Prepares the images of a task that an annotator opened, and of the tasks after it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from sam_backend.clicks import label_config
from sam_backend.embeddings.prefetch import Prefetcher
from sam_backend.errors import Refusal
from sam_backend.images.task_images import TaskImages
from sam_backend.images.tasks import Picture
from sam_backend.images.upcoming_tasks import UpcomingTasks
from sam_backend.shared.projects import Project


class OpenedTasks:
    """Has the images of tasks encoded before the first click on them."""

    def __init__(
        self, pictures: TaskImages, prefetcher: Prefetcher, upcoming: UpcomingTasks
    ) -> None:
        self._pictures = pictures
        self._prefetcher = prefetcher
        self._upcoming = upcoming

    def prefetch(self, project: Project, task: Mapping[str, Any], config: str) -> None:
        """Prepares the images of a task and of the tasks after it. Returns at once."""
        with contextlib.suppress(Refusal):  # a click will report it
            self._prefetch(project, task, config, behind=False)
            self._prefetch_later(project, task, config)

    def _prefetch(
        self, project: Project, task: Mapping[str, Any], config: str, *, behind: bool
    ) -> None:
        for image in label_config.parse(config).different_images:
            self._pictures.prefetch(Picture(project, task, image), behind=behind)

    def _prefetch_later(self, project: Project, task: Mapping[str, Any], config: str) -> None:
        """Prepares the tasks after this one when nothing else is in the queue."""
        listing = self._upcoming.listing(project, task)
        if listing is None:
            return

        def ask() -> None:
            for later in self._upcoming.read(listing):
                with contextlib.suppress(Refusal):
                    self._prefetch(project, later, config, behind=True)

        self._prefetcher.ask(f"tasks after {task.get('id')}", ask, behind=True)
