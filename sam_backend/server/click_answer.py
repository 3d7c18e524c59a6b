"""From the prompts of a click to the results of its masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sam_backend import watched_click
from sam_backend.clicks import joining, label_config, prompts
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Prompt
from sam_backend.errors import Refusal
from sam_backend.images.sources import Picture
from sam_backend.services import Services
from sam_backend.shared.click_budget import OutOfBudget
from sam_backend.shared.state import Memories, Project

# No object needs more clicks, and each one costs a decode.
MAX_PROMPTS = 200

Task = Mapping[str, Any]


@dataclass(frozen=True)
class _Part:
    """The part of a click for one label on one image."""

    picture: Picture
    output: Output
    prompts: tuple[Prompt, ...]  # the prompts of the click, and earlier prompts that belong to them
    sent: frozenset[str]  # the ids of the prompts of the click
    turn: AbstractContextManager[None]


def answer(
    services: Services, project: str, config_xml: str, task: Task, results: Sequence[Any]
) -> list[Result]:
    """The results of a click in a task. Refusal if it has none."""
    found = prompts.of_click(results)
    for context in found.values():
        watched_click.current().saw_prompts(context)
    count = sum(map(len, found.values()))
    if count > MAX_PROMPTS:
        raise Refusal(
            "prompt",
            f"{count} prompts in one click are over the limit of {MAX_PROMPTS}: accept the "
            "finished masks, which removes their prompts",
        )
    task_id = str(task.get("id"))
    if not found:  # sent when an annotation is saved with its prompts
        services.memory.ended(task_id)
    config = label_config.parse(config_xml)
    if not found:
        return []
    draft = joining.newest_draft(task.get("drafts"))

    def plan(project: Project, memories: Memories) -> list[_Part]:
        parts = []
        for target, context in found.items():
            output = Output.of_click(config, target, context[-1].control, project.extra_params)
            picture = Picture(project, task, config.image(target.to_name), target.item_index)
            turn = services.memory.turn(memories, target, picture.name, context)
            joined = services.memory.join(memories, target, picture.name, draft, context)
            sent = frozenset(prompt.id for prompt in context)
            watched_click.current().saw_prompts(p for p in joined if p.id not in sent)
            parts.append(_Part(picture, output, joined, sent, turn))
        return parts

    regions: list[Result] = []
    for part in services.memory.click(project, task_id, plan):
        with part.turn:
            regions += _masks(services, part)
    return regions


def _masks(services: Services, part: _Part) -> list[Result]:
    """The masks of all objects under the prompts of one label on one image."""
    output, regions = part.output, list[Result]()
    with watched_click.stage("image"):
        embedding = services.pictures.embedding(part.picture, output.target.size)
    for group in prompts.objects(part.prompts):
        try:
            found = services.objects.results(
                services.engine.ready(),
                embedding,
                output,
                group,
                part.picture.task,
                part.sent,
                services.settings.polygon_tolerance,
            )
        except OutOfBudget as refusal:  # the other objects keep their masks
            services.refusals.report(f"task {part.picture.task_id}", refusal)
            break
        if not found:
            raise Refusal("prompt", "the model finds no object there: click another spot")
        regions += found
    return regions
