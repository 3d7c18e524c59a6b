"""The objects that a process builds once and all requests share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sam_backend.clicks.objects import Objects
from sam_backend.engines import text_choice
from sam_backend.images.build import build as build_images
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.machines import opening
from sam_backend.mask_maker import MaskMaker
from sam_backend.settings import Settings
from sam_backend.shared.click_log import ClickLog
from sam_backend.shared.click_memory import ClickMemory
from sam_backend.shared.kept_answers import KeptAnswers
from sam_backend.shared.kept_shapes import KeptShapes
from sam_backend.shared.learning import Learning
from sam_backend.shared.loading_engine import LoadingEngine, OpenEngine
from sam_backend.shared.projects import Project
from sam_backend.shared.refusals import Refusals
from sam_backend.shared.shapes_of_machines import MachinesShapes
from sam_backend.shared.state import State
from sam_backend.shared.tasks_of_machines import TasksOfMachines
from sam_backend.shared.text_search import TextSearch


class Services:
    """All objects that live longer than one request. None of them belongs to a task or user."""

    def __init__(self, settings: Settings, model_version: str, open_engine: OpenEngine) -> None:
        self.settings = settings
        self.model_version = model_version
        self.common_store = opening.opened(settings)
        tasks = TasksOfMachines(self.common_store) if self.common_store else None
        self.state = State.in_folder(settings.model_dir, tasks)
        self.refusals = Refusals(self.state)
        self.click_log = ClickLog(self.state.path.with_name("clicks.sqlite3"))
        self.memory = ClickMemory(self.state)
        own = KeptShapes.in_folder(settings.model_dir)
        kept = MachinesShapes(own, self.common_store) if self.common_store else own
        self.learning = Learning(kept, self.state, is_on=settings.learn)
        on_disk = settings.cache_disk_mb > 0
        answers = KeptAnswers(settings.cache_dir) if on_disk else None
        self.engine = LoadingEngine(open_engine)
        open_text_model = text_choice.opener(settings.text_model, settings.device)
        self.access = LabelStudioAccess(settings, self.state)
        self.images, pictures, self._opened_tasks = build_images(
            settings, self.access, self.engine, self.common_store
        )
        self.masks = MaskMaker(
            model_version,
            self.engine,
            pictures,
            Objects(answers),
            self.learning,
            TextSearch(open_text_model, self.engine.schedule.encode),
            settings.polygon_tolerance,
        )

    def prepare(self, project: Project, task: Mapping[str, Any], config: str) -> None:
        """Prepares the masks and images of a task that an annotator opened. Returns at once."""
        if self.masks.objects.has_masks(task):
            masks = f"masks of task {task.get('id')}"
            self.images.prefetcher.ask(masks, lambda: self.masks.objects.read_ahead(task))
        self._opened_tasks.prefetch(project, task, config)

    def handle_event(self, event: Mapping[str, Any]) -> None:
        """Label Studio said that an annotation or a project changed. Returns at once."""
        action = str(event.get("action"))
        task, annotation = event.get("task"), event.get("annotation")
        if action.startswith("ANNOTATION") and isinstance(task, Mapping):
            self.memory.ended(str(task.get("id")))
        if isinstance(annotation, Mapping):  # reading masks takes longer than Label Studio waits
            saved = f"annotation {annotation.get('id')}"
            self.images.prefetcher.ask(saved, lambda: self.learning.handle_event(event))
        else:
            self.learning.handle_event(event)

    def wait_for_a_gap(self, deadline: float | None) -> None:
        """Waits until no click is running, or until a deadline of `time.monotonic()`."""
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        self.engine.schedule.wait_for_a_gap(timeout)
