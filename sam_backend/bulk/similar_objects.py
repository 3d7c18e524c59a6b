"""The rest of a kind, by masks of a label in the same task, or else in other tasks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sam_backend.bulk import like_masks, stored_examples, stored_prompts
from sam_backend.bulk.examples_elsewhere import ExamplesElsewhere
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.clicks.objects import Objects
from sam_backend.images.tasks import ProjectTask
from sam_backend.mask_maker import MaskMaker


@dataclass(frozen=True)
class Similar:
    """What to find the rest of."""

    label: str
    place: str = stored_prompts.ANNOTATIONS  # or predictions, of another model
    elsewhere: ExamplesElsewhere | None = None  # for tasks without an example

    @property
    def beginning(self) -> str:
        """How the ids of the regions begin. A label may have any characters."""
        return f"similar-{hashlib.sha256(self.label.encode()).hexdigest()[:8]}-"

    def missing(self, task: ProjectTask, own_version: str) -> list[str]:
        """The first region, if an earlier run found none. Refusal if there is no example."""
        if stored_prompts.has_masked(task.task, own_version, self.beginning):
            return []
        examples = stored_examples.alone(task.task, self.place, own_version)
        if self.elsewhere is None:
            stored_examples.check(examples, self.label, self.place)
        return [self.beginning]

    def answer(self, maker: MaskMaker, task: ProjectTask) -> TaskAnswer:
        """The regions of the objects that are like a task's masks with the label."""
        if not self.missing(task, maker.model_version):
            return TaskAnswer([])
        examples = stored_examples.alone(task.task, self.place, maker.model_version)
        pages = list(stored_examples.targets(Objects(), examples, self.label))
        looks = None
        if not pages and self.elsewhere is not None:
            looks = self.elsewhere.looks(maker, task)
            pages = list(self.elsewhere.pages(maker, task))
        found = [
            like_masks.results(
                maker, task, target, control, examples, f"{self.beginning}{number}-", looks
            )
            for number, (target, control) in enumerate(pages)
        ]
        return TaskAnswer([region for page in found for region in page])
