"""The parts of a process that make masks of tasks' images: for clicks and for data sets."""

from __future__ import annotations

from dataclasses import dataclass

from sam_backend.clicks.objects import Objects
from sam_backend.images.task_images import TaskImages
from sam_backend.shared.learning import Learning
from sam_backend.shared.loading_engine import LoadingEngine
from sam_backend.shared.text_search import TextSearch


@dataclass(frozen=True)
class MaskMaker:
    """What masks are made from. It knows nothing of requests."""

    model_version: str
    engine: LoadingEngine
    pictures: TaskImages
    objects: Objects
    learning: Learning
    text: TextSearch
    polygon_tolerance: float  # pixels that a polygon may be off
