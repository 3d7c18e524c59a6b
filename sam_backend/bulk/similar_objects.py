"""The rest of a kind in tasks where some objects of a label have masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import ANNOTATIONS
from sam_backend.clicks import find_rest
from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.errors import Refusal
from sam_backend.formats import results
from sam_backend.images.tasks import Picture
from sam_backend.services import Services
from sam_backend.shared.projects import Project

Task = Mapping[str, Any]


@dataclass(frozen=True)
class Similar:
    """What to find the rest of."""

    label: str
    place: str = ANNOTATIONS  # or predictions, of another model

    @property
    def beginning(self) -> str:
        """How the ids of the regions begin. A label may have any characters."""
        return f"similar-{hashlib.sha256(self.label.encode()).hexdigest()[:8]}-"


def has_some(task: Task, wanted: Similar, own_version: str) -> bool:
    """Whether an earlier run found the rest in this task."""
    return any(id_.startswith(wanted.beginning) for id_ in stored_prompts.masked(task, own_version))


def check(task: Task, wanted: Similar, own_version: str) -> None:
    """Refusal if no mask in the task is an example."""
    alone = _with_examples(task, wanted, own_version)
    if not any(_targets(Objects(), alone, wanted)):
        raise Refusal(
            "task",
            f"no mask with the label {wanted.label!r} alone is in the task's {wanted.place}: label "
            "at least one object in each task",
        )


def regions(
    services: Services, project: Project, task: Task, config: LabelConfig, wanted: Similar
) -> list[Result]:
    """The regions of the objects that are like a task's masks with the label."""
    if has_some(task, wanted, services.model_version):
        return []
    check(task, wanted, services.model_version)
    found: list[Result] = []
    objects = Objects()
    alone = _with_examples(task, wanted, services.model_version)
    for number, (target, control) in enumerate(_targets(objects, alone, wanted)):
        output = Output.of(config, target, OutputChoice(control, 1))
        picture = Picture(project, task, config.image(target.to_name), target.item_index)
        found += find_rest.of_masks(
            objects,
            services.engine.ready(),
            services.pictures.embedding(picture, target.size),
            output,
            alone,
            f"{wanted.beginning}{number}-",
            services.settings.polygon_tolerance,
        )
    return found


def _with_examples(task: Task, wanted: Similar, own_version: str) -> Task:
    """The task with the annotation or prediction that has the examples, alone."""
    if wanted.place == ANNOTATIONS:
        holder = stored_prompts.annotation(task)
    else:
        holder = stored_prompts.prediction(task, None, own_version)
    return {"id": task.get("id"), "annotations": [holder]}


def _targets(objects: Objects, alone: Task, wanted: Similar) -> Iterator[tuple[Target, str]]:
    """The pictures of a task that show masks with the label, and the control of these masks."""
    regions = filter(results.is_mask, results.of_saved(alone["annotations"][0]))
    for to_name, item_index, height, width in dict.fromkeys(map(results.page, regions)):
        if height > 0 and width > 0:
            target = Target(to_name, item_index, (wanted.label,), width, height, rotation=0)
            own = objects.existing(alone, target)
            if own:
                yield target, results.name(own[0].parts[0].get("from_name"))
