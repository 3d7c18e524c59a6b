"""Objects that phrases name, in the pictures of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sam_backend import named_objects
from sam_backend.bulk import stored_prompts
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.clicks import phrases
from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.output import Result
from sam_backend.clicks.phrases import Phrase
from sam_backend.images.tasks import ProjectTask
from sam_backend.mask_maker import MaskMaker


@dataclass(frozen=True)
class Named:
    """What to look for in each picture, in words."""

    phrases: tuple[Phrase, ...]

    def missing(self, task: ProjectTask, own_version: str) -> list[str]:
        """The first region, if an earlier run found none."""
        beginnings = tuple(phrase.beginning for phrase in self.phrases)
        is_done = stored_prompts.has_masked(task.task, own_version, beginnings)
        return [] if is_done else [self.phrases[0].id_of(1)]

    def answer(self, maker: MaskMaker, task: ProjectTask) -> TaskAnswer:
        """All objects with a name in a task's first image, or in all of its pages."""
        if not self.missing(task, maker.model_version):
            return TaskAnswer([])
        found: list[Result] = []
        for picture in task.pages():
            page = picture.item_index
            control = stored_prompts.output_control(task.config, picture.image.name, "")
            choice = OutputChoice(control.name, 1)
            for results in named_objects.results(maker, task, picture, self.phrases, choice):
                found += (
                    results if page is None else [{**r, "id": f"{r['id']}-{page}"} for r in results]
                )
        return TaskAnswer(found)


def read(text: str, labels: Sequence[str]) -> Named:
    """The phrases of a text such as `car; person`, with labels such as `car=Vehicle`."""
    return Named(tuple(phrases.mapped(text, labels)))
