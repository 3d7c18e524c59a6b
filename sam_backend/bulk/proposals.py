"""Proposals for everything in the pictures of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.pages import pictures
from sam_backend.clicks import everything
from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.everything import Level
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.services import Services
from sam_backend.shared.projects import Project

PROPOSAL = "proposal-"  # how the ids of proposals begin

Task = Mapping[str, Any]


@dataclass(frozen=True)
class Proposals:
    """The options for proposals."""

    label: str | None = None  # None: left for the annotator
    level: Level = "all"
    grid: int = everything.GRID
    crops: int = 0
    most: int = everything.MOST
    min_iou: float = everything.MIN_IOU


def regions(
    services: Services, project: Project, task: Task, config: LabelConfig, work: Proposals
) -> list[Result]:
    """All objects that the model finds in a task's first image, or in all of its pages."""
    if has_some(task, services.model_version):
        return []
    found: list[Result] = []
    for picture in pictures(project, task, config):
        page = picture.item_index
        embedding = services.pictures.embedding(picture)
        size = embedding.width, embedding.height
        labels = () if work.label is None else (work.label,)
        output = _output(config, Target(picture.image.name, page, labels, *size, rotation=0))
        proposals = everything.proposals(
            services.engine.ready(),
            embedding,
            level=work.level,
            grid=work.grid,
            min_iou=work.min_iou,
            most=work.most,
            crops=work.crops,
            pixels=partial(services.pictures.pixels, picture),
        )
        for number, proposal in enumerate(proposals, start=1):
            name = f"{PROPOSAL}{number}" if page is None else f"{PROPOSAL}{page}-{number}"
            found += output.results(name, proposal, services.settings.polygon_tolerance)
    return found


def has_some(task: Task, model_version: str) -> bool:
    return any(id_.startswith(PROPOSAL) for id_ in stored_prompts.masked(task, model_version))


def _output(config: LabelConfig, target: Target) -> Output:
    """The control for proposals. A control with labels also accepts proposals without a label."""
    control = stored_prompts.output_control(config, target, "")
    if target.labels:
        return Output.of(config, target, OutputChoice(control.name, 1))
    return Output(target, control, None, (), 1)
