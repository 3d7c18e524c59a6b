"""The masks of a label in other tasks, as examples for tasks that have none."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from sam_backend.bulk import stored_examples
from sam_backend.clicks import find_rest
from sam_backend.clicks.likeness import Looks, Tokens, together
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.prompts import Target
from sam_backend.errors import Refusal
from sam_backend.images.tasks import ProjectTask
from sam_backend.mask_maker import MaskMaker

logger = logging.getLogger("sam_backend")

MOST_TASKS = 8

Task = Mapping[str, Any]


class ExamplesElsewhere:
    """Tasks with masks of a label. What the masks look like is worked out once in each process."""

    def __init__(self, label: str, tasks: Sequence[Task]) -> None:
        self._label, self._tasks = label, tasks
        self._looks: Looks | Refusal | None = None

    def __repr__(self) -> str:
        return f"examples in tasks {[task['id'] for task in self._tasks]}"

    def pages(self, maker: MaskMaker, task: ProjectTask) -> Iterator[tuple[Target, str | None]]:
        """The pictures of another task, each with the control for its masks.

        Refusal if the task has none of the images with examples.
        """
        controls = self._controls(task)
        pictures = [(name, picture) for name in controls for picture in task.pages(name)]
        for to_name, picture in [(n, p) for n, p in pictures if p.has_address] or pictures[:1]:
            embedding = maker.pictures.embedding(picture)
            size = embedding.width, embedding.height
            yield (
                Target(to_name, picture.item_index, (self._label,), *size, 0.0),
                controls[to_name],
            )

    def looks(self, maker: MaskMaker, task: ProjectTask) -> Looks:
        """The looks of the examples, for another task. Refusal if no picture can be read."""
        if self._looks is None:
            self._looks = self._looks_of_tasks(maker, task)
        if isinstance(self._looks, Refusal):
            raise self._looks
        return self._looks

    def _looks_of_tasks(self, maker: MaskMaker, task: ProjectTask) -> Looks | Refusal:
        found, said = list[Looks](), ""
        for other in self._tasks:
            try:
                found += self._looks_in(maker, replace(task, task=other))
            except Refusal as refusal:
                said = f"task {other['id']}: {refusal}"
                logger.warning("no examples from %s", said)
        if found:
            return together(found)
        return Refusal("task", f"no picture with examples can be read ({said})")

    def _looks_in(self, maker: MaskMaker, task: ProjectTask) -> Iterator[Looks]:
        """The looks of a task's share of the examples, for each of its pictures with some."""
        objects, left = Objects(), -(-find_rest.MOST_EXAMPLES // len(self._tasks))
        for target, _ in stored_examples.targets(objects, task.task, self._label):
            own = [region.low_res for region in objects.existing(task.task, target)]
            masks = np.array([mask for mask in own if mask.any()][:left])
            if len(masks):
                left -= len(masks)
                picture = task.picture(target.to_name, target.item_index)
                yield Tokens(maker.pictures.embedding(picture, target.size)).looks(masks)

    @cached_property
    def _controls_of_examples(self) -> list[tuple[str, str | None]]:
        """The names of the images with examples, and of the masks' controls: each pair once."""
        objects = Objects()
        pairs = [
            (target.to_name, control)
            for task in self._tasks
            for target, control in stored_examples.targets(objects, task, self._label)
        ]
        return list(dict.fromkeys(pairs))

    def _controls(self, task: ProjectTask) -> dict[str, str | None]:
        """The names of the label config's images with examples, each with the masks' control.

        None stands for the first control. Examples may be older than the label config.
        """
        found: dict[str, str | None] = {}
        for to_name, control in self._controls_of_examples:
            for wanted in (control, None):
                if found.get(to_name) is None and _has(task, to_name, wanted):
                    found[to_name] = wanted
        if not found:
            raise Refusal("config", "the label config has none of the images with examples")
        return found


def _has(task: ProjectTask, to_name: str, control: str | None) -> bool:
    """Whether the task's label config has such an image, and a control for its masks."""
    try:
        task.config.image(to_name)
        task.config.output_for(to_name, control)
    except Refusal:
        return False
    return True


def in_tasks(
    tasks: Iterable[tuple[str, Task]], label: str, place: str, own_version: str
) -> ExamplesElsewhere:
    """The examples of the first tasks that have any. Refusal if there are none."""
    objects, found = Objects(), list[Task]()
    for key, task in tasks:
        examples = stored_examples.alone(task, place, own_version)
        if any(stored_examples.targets(objects, examples, label)):
            found.append({**examples, "id": task.get("id", key), "data": task.get("data")})
            if len(found) == MOST_TASKS:
                break
    if not found:
        raise Refusal(
            "task",
            f"no mask in the {place} of any task has {label!r} as its only label: label at "
            "least one object",
        )
    return ExamplesElsewhere(label, found)
