"""Objects that phrases name, in the pictures of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sam_backend import named_objects
from sam_backend.bulk import stored_prompts
from sam_backend.bulk.pages import pictures
from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.output import Result
from sam_backend.clicks.prompts import Target
from sam_backend.clicks.words import Phrase
from sam_backend.services import Services
from sam_backend.shared.projects import Project

Task = Mapping[str, Any]


@dataclass(frozen=True)
class Named:
    """What to look for in each picture, in words."""

    phrases: tuple[Phrase, ...]


def regions(
    services: Services, project: Project, task: Task, config: LabelConfig, work: Named
) -> list[Result]:
    """All objects with a name in a task's first image, or in all of its pages."""
    if has_some(task, work, services.model_version):
        return []
    found: list[Result] = []
    for picture in pictures(project, task, config):
        page = picture.item_index
        target = Target(picture.image.name, page, (), 1, 1, rotation=0)
        choice = OutputChoice(stored_prompts.output_control(config, target, "").name, 1)
        for results in named_objects.results(services, picture, config, work.phrases, choice):
            found += (
                results if page is None else [{**r, "id": f"{r['id']}-{page}"} for r in results]
            )
    return found


def has_some(task: Task, work: Named, model_version: str) -> bool:
    beginnings = tuple(phrase.beginning for phrase in work.phrases)
    return any(id_.startswith(beginnings) for id_ in stored_prompts.masked(task, model_version))
