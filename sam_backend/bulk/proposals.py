"""Proposals for everything in the pictures of a task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.clicks import everything
from sam_backend.clicks.everything import Level
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.images.tasks import ProjectTask
from sam_backend.mask_maker import MaskMaker

PROPOSAL = "proposal-"  # how the ids of proposals begin


@dataclass(frozen=True)
class Proposals:
    """The options for proposals."""

    label: str | None = None  # None: left for the annotator
    level: Level = "all"
    grid: int = everything.GRID
    crops: int = 0
    most: int = everything.MOST
    min_iou: float = everything.MIN_IOU

    def missing(self, task: ProjectTask, own_version: str) -> list[str]:
        """The first proposal, if an earlier run made none."""
        is_done = stored_prompts.has_masked(task.task, own_version, PROPOSAL)
        return [] if is_done else [PROPOSAL]

    def answer(self, maker: MaskMaker, task: ProjectTask) -> TaskAnswer:
        """All objects that the model finds in a task's first image, or in all of its pages."""
        if not self.missing(task, maker.model_version):
            return TaskAnswer([])
        found: list[Result] = []
        for picture in task.pages():
            page = picture.item_index
            embedding = maker.pictures.embedding(picture)
            size = embedding.width, embedding.height
            labels = () if self.label is None else (self.label,)
            output = _output(task, Target(picture.image.name, page, labels, *size, rotation=0))
            proposals = everything.proposals(
                maker.engine.ready(),
                embedding,
                level=self.level,
                grid=self.grid,
                min_iou=self.min_iou,
                most=self.most,
                crops=self.crops,
                pixels=partial(maker.pictures.pixels, picture),
            )
            for number, proposal in enumerate(proposals, start=1):
                name = f"{PROPOSAL}{number}" if page is None else f"{PROPOSAL}{page}-{number}"
                found += output.results(name, proposal, maker.polygon_tolerance)
        return TaskAnswer(found)


def _output(task: ProjectTask, target: Target) -> Output:
    """The control for proposals. A control with labels also accepts proposals without a label."""
    control = stored_prompts.output_control(task.config, target.to_name, "")
    if target.labels:
        return Output.in_control(task.config, target, control.name)
    return Output(target, control, None, (), 1)
