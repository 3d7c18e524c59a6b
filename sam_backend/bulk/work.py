"""What a run or a batch does with each of its tasks."""

from __future__ import annotations

from typing import Protocol

from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.images.tasks import ProjectTask
from sam_backend.mask_maker import MaskMaker


class Work(Protocol):
    """One kind of work. Its `repr` names all its options, so that a run can be resumed."""

    def missing(self, task: ProjectTask, own_version: str) -> list[str]:
        """The ids of the regions that the task lacks. It reads no image, so it may be a guess.

        `own_version` names this back end's model in predictions.
        """
        ...

    def answer(self, maker: MaskMaker, task: ProjectTask) -> TaskAnswer:
        """The missing regions. Refusal if none of them can be made."""
        ...
