"""Masks for the prompts that a task has already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import PromptChoice, StoredObject
from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result
from sam_backend.errors import Refusal
from sam_backend.formats.results import Result as SavedResult
from sam_backend.images.tasks import Picture
from sam_backend.services import Services
from sam_backend.shared.projects import Project

Task = Mapping[str, Any]


def regions(
    services: Services, project: Project, task: Task, config: LabelConfig, choice: PromptChoice
) -> tuple[list[Result], list[str]]:
    """The masks of the objects under a task's own prompts, and a line for each that failed."""
    found = stored_prompts.results(task, choice, config, services.model_version)
    by_image: dict[tuple[str, int | None], list[SavedResult]] = {}
    for result in found:
        by_image.setdefault((str(result.get("to_name")), result.get("item_index")), []).append(
            result
        )
    regions: list[Result] = []
    failures: list[str] = []
    for (to_name, item_index), members in by_image.items():
        without = {o.region_id for o in missing(members, task, choice, services.model_version)}
        if not without:
            continue
        picture = Picture(project, task, config.image(to_name), item_index)
        embedding = services.pictures.embedding(picture)
        sized = [stored_prompts.with_size(r, embedding.width, embedding.height) for r in members]
        for each in stored_prompts.objects(sized, choice):
            if each.region_id in without:
                try:
                    regions += _mask(services, picture, config, each)
                except Refusal as refusal:
                    failures.append(str(refusal))
    return regions, failures


def missing(
    found: Sequence[SavedResult], task: Task, choice: PromptChoice, model_version: str
) -> list[StoredObject]:
    """The objects that have no mask yet."""
    there = stored_prompts.masked(task, model_version)
    # Which prompts make an object does not depend on the size, so no image is read for it.
    guessed = [stored_prompts.with_size(result, 1, 1) for result in found]
    return [each for each in stored_prompts.objects(guessed, choice) if each.region_id not in there]


def _mask(
    services: Services, picture: Picture, config: LabelConfig, each: StoredObject
) -> list[Result]:
    target, first = each.target, each.prompts[0]
    control = stored_prompts.output_control(config, target, first.control)
    output = Output.of(config, target, OutputChoice(control.name, 1))
    embedding = services.pictures.embedding(picture, target.size)
    # Objects of its own: annotators' clicks keep what is remembered for them.
    found = Objects().results(
        services.engine.ready(),
        embedding,
        output,
        each.prompts,
        task={},
        sent={first.id},
        polygon_tolerance=services.settings.polygon_tolerance,
        learnt=services.learning.learnt(picture.project, target.labels),
    )
    if not found:
        kind = "rectangle" if first.is_rectangle else "keypoint"
        raise Refusal("prompt", f"the model finds no object at the {kind} {first.id}")
    return found
