"""The rest of a kind in tasks where some objects of a label have masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import ANNOTATIONS
from sam_backend.clicks import existing_masks, find_rest
from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.existing_masks import ExistingMask
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.objects import Recent
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.errors import Refusal
from sam_backend.formats import results
from sam_backend.images.sources import Picture
from sam_backend.services import Services
from sam_backend.shared.projects import Project

KEPT_MASKS = 32 << 20  # bytes: of 8 KiB each

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


@dataclass(frozen=True)
class _Shown:
    """A picture of a task with examples in it."""

    target: Target
    own: list[ExistingMask]
    there: list[ExistingMask]  # of any label


def has_some(task: Task, wanted: Similar, own_version: str) -> bool:
    """Whether an earlier run found the rest in this task."""
    return any(id_.startswith(wanted.beginning) for id_ in stored_prompts.masked(task, own_version))


def check(task: Task, wanted: Similar, own_version: str) -> None:
    """Refusal if no mask in the task is an example."""
    if not any(_pictures(task, wanted, own_version)):
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
    for number, page in enumerate(_pictures(task, wanted, services.model_version)):
        target = page.target
        control = results.name(page.own[0].parts[0].get("from_name"))
        output = Output.of(config, target, OutputChoice(control, 1))
        picture = Picture(project, task, config.image(target.to_name), target.item_index)
        found += find_rest.of_masks(
            services.engine.ready(),
            services.pictures.embedding(picture, target.size),
            output,
            page.own,
            page.there,
            f"{wanted.beginning}{number}-",
            services.settings.polygon_tolerance,
        )
    return found


def _pictures(task: Task, wanted: Similar, own_version: str) -> Iterator[_Shown]:
    """The pictures of a task that show masks with the label."""
    if wanted.place == ANNOTATIONS:
        holder = stored_prompts.annotation(task)
    else:
        holder = stored_prompts.prediction(task, None, own_version)
    alone = {"id": task.get("id"), "annotations": [holder]}
    cache: Recent[existing_masks.Packed] = Recent(KEPT_MASKS)
    pages = dict.fromkeys(map(results.page, filter(results.is_mask, results.of_saved(holder))))
    for to_name, item_index, height, width in pages:
        if height > 0 and width > 0:
            target = Target(to_name, item_index, (wanted.label,), width, height, rotation=0)
            own = existing_masks.on_target(alone, target, cache)
            if own:
                yield _Shown(target, own, existing_masks.on_page(alone, target, cache))
