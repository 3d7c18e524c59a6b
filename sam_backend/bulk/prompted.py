"""Masks for the prompts that a task has already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import PromptChoice, StoredObject
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.clicks import object_results
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result
from sam_backend.errors import Refusal
from sam_backend.images.tasks import Picture, ProjectTask
from sam_backend.mask_maker import MaskMaker


@dataclass(frozen=True)
class Prompted:
    """Which prompts get masks."""

    choice: PromptChoice = field(default_factory=PromptChoice)

    def missing(self, task: ProjectTask, own_version: str) -> list[str]:
        """The ids of the objects under the prompts that have no mask yet."""
        found = stored_prompts.results(task.task, self.choice, task.config, own_version)
        return [each.region_id for each in self._without_masks(found, task, own_version)]

    def answer(self, maker: MaskMaker, task: ProjectTask) -> TaskAnswer:
        """The masks of the objects under a task's own prompts, and a line for each that failed."""
        version = maker.model_version
        found = stored_prompts.results(task.task, self.choice, task.config, version)
        by_image: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
        for result in found:
            by_image.setdefault(stored_prompts.page(result), []).append(result)
        there = stored_prompts.masked(task.task, version)
        regions: list[Result] = []
        failures: list[str] = []
        for (to_name, item_index), members in by_image.items():
            if not self._without_masks(members, task, version):
                continue
            picture = task.picture(to_name, item_index)
            size = maker.pictures.embedding(picture)
            sized = [stored_prompts.with_size(r, size.width, size.height) for r in members]
            for each in stored_prompts.objects(sized, self.choice):
                if each.region_id not in there:
                    try:
                        regions += _mask(maker, task, picture, each)
                    except Refusal as refusal:
                        failures.append(str(refusal))
        return TaskAnswer(regions, tuple(failures))

    def _without_masks(
        self, found: Sequence[Mapping[str, Any]], task: ProjectTask, own_version: str
    ) -> list[StoredObject]:
        there = stored_prompts.masked(task.task, own_version)
        # The size hardly matters for which prompts make an object, so no image is read for it.
        guessed = [stored_prompts.with_size(result, 1, 1) for result in found]
        objects = stored_prompts.objects(guessed, self.choice)
        return [each for each in objects if each.region_id not in there]


def _mask(
    maker: MaskMaker, task: ProjectTask, picture: Picture, each: StoredObject
) -> list[Result]:
    target, first = each.target, each.prompts[0]
    control = stored_prompts.output_control(task.config, target.to_name, first.control)
    output = Output.in_control(task.config, target, control.name)
    embedding = maker.pictures.embedding(picture, target.size)
    # Objects of its own: annotators' clicks keep what is remembered for them.
    found = object_results.results(
        Objects(),
        maker.engine.ready(),
        embedding,
        output,
        each.prompts,
        task={},
        sent={first.id},
        polygon_tolerance=maker.polygon_tolerance,
        learnt=maker.learning.learnt(picture.project, target.labels),
    )
    if not found:
        kind = "rectangle" if first.is_rectangle else "keypoint"
        raise Refusal("prompt", f"the model finds no object at the {kind} {first.id}")
    return found
