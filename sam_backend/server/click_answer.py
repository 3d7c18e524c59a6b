"""From the prompts of a click to the results of its masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam_backend.clicks import label_config
from sam_backend.clicks.click_prompts import WITHOUT_RECTANGLE, ClickPrompts
from sam_backend.clicks.output import Result
from sam_backend.images.tasks import ProjectTask
from sam_backend.server import click_masks, click_plan, word_answer
from sam_backend.services import Services

Task = Mapping[str, Any]


def answer(
    services: Services, project: str, config_xml: str, task: Task, results: Sequence[Any]
) -> list[Result]:
    """The results of a click in a task. Refusal if it has none."""
    prompts = ClickPrompts.of(results, task)
    task_id = str(task.get("id"))
    config = label_config.parse(config_xml)
    if not prompts.are_sent:
        named = word_answer.answer(services, project, config, task, results)
        if named is not None:
            return named
    if prompts.are_none:  # 1.23.2 sends this when an annotation is saved with its prompts
        services.memory.ended(task_id)
        return []
    parts = services.memory.click(
        project,
        task_id,
        lambda clicked: click_plan.parts(
            clicked, ProjectTask(clicked.project, task, config), prompts
        ),
    )
    if not parts:
        services.memory.ended(task_id)
    elif not prompts.are_sent:
        services.refusals.report(f"task {task_id}", WITHOUT_RECTANGLE)
    report = services.refusals.report
    return [r for part in parts for r in click_masks.results(services.masks, report, part)]
