"""From the prompts of a click to the results of its masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sam_backend import watched_click
from sam_backend.clicks import find_rest, joining, label_config, newest, prompts, words
from sam_backend.clicks.joining import EarlierClick
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.errors import Refusal
from sam_backend.images.sources import Picture
from sam_backend.server import word_answer
from sam_backend.services import Services
from sam_backend.shared import click_budget
from sam_backend.shared.click_budget import OutOfBudget
from sam_backend.shared.earlier_clicks import EarlierClicks
from sam_backend.shared.projects import Project

# No object needs more clicks, and each one costs a decode.
MAX_PROMPTS = 200
_BARE_RECTANGLE = (
    "the click came without its rectangle, so one of the saved draft is answered: this version of "
    "Label Studio sends rectangles of <RectangleLabels> only, see label_configs/brush_and_boxes.xml"
)

Task = Mapping[str, Any]


@dataclass(frozen=True)
class _Part:
    """The part of a click for one label on one image."""

    picture: Picture
    output: Output
    prompts: tuple[Prompt, ...]  # the prompts of the click, and earlier prompts that belong to them
    sent: frozenset[str]  # the ids of the prompts of the click
    turn: AbstractContextManager[None]
    finds_rest: bool


def answer(
    services: Services, project: str, config_xml: str, task: Task, results: Sequence[Any]
) -> list[Result]:
    """The results of a click in a task. Refusal if it has none."""
    sent = prompts.of_click(results)
    found = sent or newest.drawn(task)
    for context in sent.values():
        watched_click.current().saw_prompts(context)
    count = sum(map(len, sent.values()))
    if count > MAX_PROMPTS:
        raise Refusal(
            "prompt",
            f"{count} prompts in one click are over the limit of {MAX_PROMPTS}: accept the "
            "finished masks, which removes their prompts",
        )
    task_id = str(task.get("id"))
    config = label_config.parse(config_xml)
    if not sent and (asked := words.of_click(results, config)):
        return word_answer.answer(services, services.state.project(project), config, task, asked)
    if not found:  # 1.23.2 sends this when an annotation is saved with its prompts
        services.memory.ended(task_id)
        return []
    parts = services.memory.click(
        project,
        task_id,
        lambda project, earlier_clicks: _parts(
            services, project, earlier_clicks, config, task, sent or None
        ),
    )
    if not parts:
        services.memory.ended(task_id)
    elif not sent:
        services.refusals.report(f"task {task_id}", Refusal("config", _BARE_RECTANGLE))
    regions: list[Result] = []
    for part in parts:
        with part.turn:
            regions += _rest(services, part) if part.finds_rest else _masks(services, part)
    return regions


def _parts(
    services: Services,
    project: Project,
    earlier_clicks: EarlierClicks,
    config: LabelConfig,
    task: Task,
    sent: newest.Found | None,
) -> list[_Part]:
    """The parts of a click; of its task's draft if the click has no prompts."""

    def picture(target: Target) -> Picture:
        return Picture(project, task, config.image(target.to_name), target.item_index)

    def earlier(target: Target) -> EarlierClick:
        return earlier_clicks.of(target, picture(target).name)

    asked = newest.asked_about(
        sent or _never_sent(newest.drawn(task), config, earlier),
        answered=lambda target: earlier(target).prompts,
        saved=lambda: newest.saved_rectangles(task),
    )
    draft = joining.newest_draft(task.get("drafts"))
    parts = []
    for target, mixed in asked.items():
        finds_rest = config.finds_rest(mixed[-1].control)
        # Two tools may share a context. The prompts of one are not meant for the other.
        context = tuple(p for p in mixed if config.finds_rest(p.control) == finds_rest)
        output = Output.of_click(config, target, context[-1].control, project.extra_params)
        name = picture(target).name
        turn = services.memory.turn(earlier_clicks, target, name, context)
        joined = context
        if not finds_rest:
            joined = services.memory.join(
                earlier_clicks, target, name, draft, context, sent=bool(sent)
            )
        ids = frozenset(prompt.id for prompt in context)
        counted = ids if sent else frozenset()
        watched_click.current().saw_prompts(p for p in joined if p.id not in counted)
        parts.append(_Part(picture(target), output, joined, ids, turn, finds_rest))
    return parts


def _never_sent(
    found: newest.Found, config: LabelConfig, earlier: Callable[[Target], EarlierClick]
) -> newest.Found:
    """A draft's rectangles of smart controls, unless this editor sends them with each click."""
    smart = {control.name for control in config.controls if control.smart_only}
    fitting = {
        target: tuple(prompt for prompt in group if prompt.control in smart)
        for target, group in found.items()
        if not earlier(target).sends_rectangles
    }
    return {target: group for target, group in fitting.items() if group}


def _rest(services: Services, part: _Part) -> list[Result]:
    """The masks of all objects that are like the objects under the prompts."""
    with watched_click.stage("image"):
        embedding = services.pictures.embedding(part.picture, part.output.target.size)
    with click_budget.search():
        return find_rest.results(
            services.objects,
            services.engine.ready(),
            embedding,
            part.output,
            part.prompts,
            part.picture.task,
            services.settings.polygon_tolerance,
        )


def _masks(services: Services, part: _Part) -> list[Result]:
    """The masks of all objects under the prompts of one label on one image."""
    output, regions = part.output, list[Result]()
    with watched_click.stage("image"):
        embedding = services.pictures.embedding(part.picture, output.target.size)
    learnt = services.learning.learnt(part.picture.project, output.target.labels)
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
                learnt,
            )
        except OutOfBudget as refusal:  # the other objects keep their masks
            services.refusals.report(f"task {part.picture.task_id}", refusal)
            break
        if not found:
            raise Refusal("prompt", "the model finds no object there: click another spot")
        regions += found
    return regions
