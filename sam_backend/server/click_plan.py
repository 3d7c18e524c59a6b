"""The plan of a click: which prompts belong together, on which image, and what their answer is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sam_backend import watched_click
from sam_backend.clicks import joining, newest
from sam_backend.clicks.click_prompts import ClickPrompts
from sam_backend.clicks.joining import EarlierClick
from sam_backend.clicks.output import Output
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.clicks.prompts import objects as prompts_of_objects
from sam_backend.images.tasks import Picture, ProjectTask
from sam_backend.shared.click_memory import ClickedTask


@dataclass(frozen=True)
class Part:
    """The part of a click for one label on one image."""

    picture: Picture
    output: Output
    prompts: tuple[Prompt, ...]  # the prompts of the click, and earlier prompts that belong to them
    sent: frozenset[str]  # the ids of the prompts of the click
    turn: AbstractContextManager[None]
    finds_rest: bool

    @property
    def objects(self) -> list[tuple[Prompt, ...]]:
        """The prompts of each object."""
        return prompts_of_objects(self.prompts, self.output.target.aspect)


def parts(clicked: ClickedTask, task: ProjectTask, prompts: ClickPrompts) -> list[Part]:
    """The parts of a click. If it has no prompts, the draft of its task has them."""
    config = task.config

    def picture(target: Target) -> Picture:
        return task.picture(target.to_name, target.item_index)

    def earlier(target: Target) -> EarlierClick:
        return clicked.earlier(target, picture(target).name)

    asked = newest.asked_about(
        prompts.sent or _never_sent(prompts.drawn, task, earlier),
        answered=lambda target: earlier(target).prompts,
        saved=lambda: newest.saved_rectangles(task.task),
    )
    draft = joining.newest_draft(task.task.get("drafts"))
    found = []
    for target, mixed in asked.items():
        finds_rest = config.finds_rest(mixed[-1].control)
        # Two tools may share a context. The prompts of one are not meant for the other.
        context = tuple(p for p in mixed if config.finds_rest(p.control) == finds_rest)
        output = Output.for_click(config, target, context[-1].control, clicked.project.extra_params)
        name = picture(target).name
        turn = clicked.turn(target, name, context)
        joined = context
        if not finds_rest:
            joined = clicked.join(target, name, draft, context, sent=prompts.are_sent)
        ids = frozenset(prompt.id for prompt in context)
        counted = ids if prompts.are_sent else frozenset()
        watched_click.current().saw_prompts(p for p in joined if p.id not in counted)
        found.append(Part(picture(target), output, joined, ids, turn, finds_rest))
    return found


def _never_sent(
    found: newest.Found, task: ProjectTask, earlier: Callable[[Target], EarlierClick]
) -> newest.Found:
    """A draft's rectangles of smart controls, unless this editor sends them with each click."""
    smart = {control.name for control in task.config.controls if control.smart_only}
    fitting = {
        target: tuple(prompt for prompt in group if prompt.control in smart)
        for target, group in found.items()
        if not earlier(target).sends_rectangles
    }
    return {target: group for target, group in fitting.items() if group}
