"""The rest of a kind in tasks where some objects of a label have masks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sam_backend.bulk import stored_examples, stored_prompts
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.clicks import find_rest
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result
from sam_backend.images.tasks import ProjectTask
from sam_backend.mask_maker import MaskMaker


@dataclass(frozen=True)
class Similar:
    """What to find the rest of."""

    label: str
    place: str = stored_prompts.ANNOTATIONS  # or predictions, of another model

    @property
    def beginning(self) -> str:
        """How the ids of the regions begin. A label may have any characters."""
        return f"similar-{hashlib.sha256(self.label.encode()).hexdigest()[:8]}-"

    def missing(self, task: ProjectTask, own_version: str) -> list[str]:
        """The first region, if an earlier run found none. Refusal if there is no example."""
        if stored_prompts.has_masked(task.task, own_version, self.beginning):
            return []
        examples = stored_examples.alone(task.task, self.place, own_version)
        stored_examples.check(examples, self.label, self.place)
        return [self.beginning]

    def answer(self, maker: MaskMaker, task: ProjectTask) -> TaskAnswer:
        """The regions of the objects that are like a task's masks with the label."""
        if not self.missing(task, maker.model_version):
            return TaskAnswer([])
        found: list[Result] = []
        objects = Objects()
        examples = stored_examples.alone(task.task, self.place, maker.model_version)
        pages = stored_examples.targets(objects, examples, self.label)
        for number, (target, control) in enumerate(pages):
            picture = task.picture(target.to_name, target.item_index)
            found += find_rest.of_masks(
                objects,
                maker.engine.ready(),
                maker.pictures.embedding(picture, target.size),
                Output.in_control(task.config, target, control),
                examples,
                f"{self.beginning}{number}-",
                maker.polygon_tolerance,
            )
        return TaskAnswer(found)
