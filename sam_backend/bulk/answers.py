"""Answers for tasks without a click: masks for the prompts in the task, or proposals.

Label Studio's batch requests use it with a deadline, and the commands without one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sam_backend.bulk.prompted import Prompted
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.bulk.work import Work
from sam_backend.clicks import label_config
from sam_backend.errors import Refusal
from sam_backend.images.tasks import ProjectTask
from sam_backend.services import Services
from sam_backend.shared.projects import Project

logger = logging.getLogger("sam_backend")

Task = Mapping[str, Any]


def answer_tasks(
    services: Services,
    project: str,
    config_xml: str,
    work: Sequence[tuple[Task, Work]],
    deadline: float | None = None,
) -> list[TaskAnswer | None]:
    """An answer for each task, or None if there is no time for it.

    `deadline` is a time of `time.monotonic()`. A task only starts if it could end in time even as
    slowly as the slowest one so far. The images of the remaining tasks are then prepared for the
    next request.
    """
    found: list[TaskAnswer | None] = []
    known, slowest = services.state.project(project), 0.0
    for task, todo in work:
        services.wait_for_a_gap(deadline)
        started = time.monotonic()
        if deadline is not None and started + slowest > deadline:
            services.prepare(known, task, config_xml)
            found.append(None)
            continue
        found.append(_answer(services, known, config_xml, task, todo))
        slowest = max(slowest, time.monotonic() - started)
    return found


def batch_predictions(
    services: Services,
    project: str,
    config_xml: str,
    tasks: Sequence[Task],
    deadline: float,
    proposals: Work | None = None,
) -> list[list[dict[str, Any]]]:
    """The answers to Label Studio's request for predictions of tasks, without a click.

    A task with prompts gets masks for them. A task without prompts and predictions gets proposals
    if `proposals` is given. The list of a task is empty if it gets nothing, or if time runs out.
    """
    work: list[tuple[Task, Work]] = []
    for task in tasks:
        todo: Work = Prompted()
        if proposals is not None and not task.get("predictions"):
            has_prompts = planned(config_xml, task, todo, services.model_version)
            todo = todo if has_prompts.regions or has_prompts.failures else proposals
        work.append((task, todo))
    found: list[list[dict[str, Any]]] = []
    answers = answer_tasks(services, project, config_xml, work, deadline)
    services.refusals.report_all(
        (f"task {task.get('id')}", Refusal("batch", failure))
        for task, answer in zip(tasks, answers, strict=True)
        for failure in (answer.failures if answer else ())
    )
    for answer in answers:
        prediction = answer.prediction(services.model_version) if answer else None
        found.append([prediction] if prediction else [])
    return found


def planned(config_xml: str, task: Task, work: Work, model_version: str) -> TaskAnswer:
    """The answer of a dry run: for each object, a region with an id but without a mask."""
    try:
        # What a task lacks does not depend on its project.
        in_project = ProjectTask(Project(""), task, label_config.parse(config_xml))
        ids = work.missing(in_project, model_version)
        return TaskAnswer([{"id": id_, "score": 0.0} for id_ in ids])
    except Refusal as refusal:
        return TaskAnswer([], (str(refusal),))


def _answer(
    services: Services, project: Project, config_xml: str, task: Task, work: Work
) -> TaskAnswer:
    try:
        in_project = ProjectTask(project, task, label_config.parse(config_xml))
        return work.answer(services.masks, in_project)
    except Refusal as refusal:
        return TaskAnswer([], (str(refusal),))
    except Exception as error:  # a fault of ours must not end the work on other tasks
        logger.exception("task %s", task.get("id"))
        return TaskAnswer([], (f"the back end failed (its log says where): {error!r}",))
