"""The masks in tasks that are examples for a search, from people or from another model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import ANNOTATIONS
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.prompts import Target
from sam_backend.errors import Refusal
from sam_backend.formats import results

Task = Mapping[str, Any]


def alone(task: Task, place: str, own_version: str) -> Task:
    """The task with only the annotation or prediction that has the examples."""
    if place == ANNOTATIONS:
        holder = stored_prompts.annotation(task)
    else:
        holder = stored_prompts.prediction(task, None, own_version)
    return {"id": task.get("id"), "annotations": [holder]}


def targets(objects: Objects, examples: Task, label: str) -> Iterator[tuple[Target, str | None]]:
    """The pictures of a task from `alone` with masks of the label, and the control of the masks."""
    regions = filter(results.is_mask, results.of_saved(examples["annotations"][0]))
    for to_name, item_index, height, width in dict.fromkeys(map(results.page, regions)):
        if height > 0 and width > 0:
            target = Target(to_name, item_index, (label,), width, height, rotation=0)
            own = objects.existing(examples, target)
            if own:
                yield target, results.name(own[0].parts[0].get("from_name"))


def check(examples: Task, label: str, place: str) -> None:
    """Refusal if no mask in a task from `alone` is an example."""
    if not any(targets(Objects(), examples, label)):
        raise Refusal(
            "task",
            f"no mask in the task's {place} has {label!r} as its only label: label "
            "at least one object in each task, or add --across",
        )
