"""From the prompts of a click to the results of its masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam_backend import watched_click
from sam_backend.clicks import label_config, newest, prompts, words
from sam_backend.clicks.output import Result
from sam_backend.errors import Refusal
from sam_backend.server import click_masks, click_plan, word_answer
from sam_backend.services import Services

# No object needs more clicks, and each one costs a decode.
MAX_PROMPTS = 200
_BARE_RECTANGLE = (
    "the click came without its rectangle, so one of the saved draft is answered: this version of "
    "Label Studio sends rectangles of <RectangleLabels> only, see label_configs/brush_and_boxes.xml"
)

Task = Mapping[str, Any]


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
        project, task_id, lambda clicked: click_plan.parts(clicked, config, task, sent or None)
    )
    if not parts:
        services.memory.ended(task_id)
    elif not sent:
        services.refusals.report(f"task {task_id}", Refusal("config", _BARE_RECTANGLE))
    return [result for part in parts for result in click_masks.results(services, part)]
