"""Answers for tasks without a click: masks for the prompts in the task, or proposals.

Label Studio's batch requests use it with a deadline, and the commands without one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam_backend.bulk import named, prompted, proposals, similar_objects, stored_prompts
from sam_backend.bulk.named import Named
from sam_backend.bulk.proposals import Proposals
from sam_backend.bulk.similar_objects import Similar
from sam_backend.bulk.stored_prompts import PromptChoice
from sam_backend.clicks import label_config
from sam_backend.clicks.output import Result
from sam_backend.errors import Refusal
from sam_backend.services import Services
from sam_backend.shared.projects import Project

logger = logging.getLogger("sam_backend")

Task = Mapping[str, Any]


Work = PromptChoice | Proposals | Named | Similar


@dataclass(frozen=True)
class TaskAnswer:
    """The new regions of a task, and a line for each one that failed."""

    regions: list[Result]
    failures: tuple[str, ...] = ()

    def prediction(self, model_version: str) -> dict[str, Any] | None:
        """The answer as a prediction. None if it is empty and would only hide the task."""
        if not self.regions:
            return None
        scores = {region["id"]: region["score"] for region in self.regions}
        return {
            "result": self.regions,
            "score": sum(scores.values()) / len(scores),
            "model_version": model_version,
        }


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
    for task, wanted in work:
        services.wait_for_a_gap(deadline)
        started = time.monotonic()
        if deadline is not None and started + slowest > deadline:
            services.opened(known, task, config_xml)
            found.append(None)
            continue
        found.append(_answer(services, known, config_xml, task, wanted))
        slowest = max(slowest, time.monotonic() - started)
    return found


def batch_predictions(
    services: Services,
    project: str,
    config_xml: str,
    tasks: Sequence[Task],
    deadline: float,
    proposals: Proposals | None = None,
) -> list[list[dict[str, Any]]]:
    """The answers to Label Studio's request for predictions of tasks, without a click.

    A task with prompts gets masks for them. A task without prompts and predictions gets proposals
    if `proposals` is given. The list of a task is empty if it gets nothing, or if time runs out.
    """
    work: list[tuple[Task, Work]] = []
    for task in tasks:
        todo: Work = PromptChoice()
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
        config = label_config.parse(config_xml)
        if isinstance(work, Named):
            has_some = named.has_some(task, work, model_version)
            return TaskAnswer([] if has_some else [{"id": work.phrases[0].id_of(1), "score": 0.0}])
        if isinstance(work, Proposals):
            has_some = proposals.has_some(task, model_version)
            return TaskAnswer([] if has_some else [{"id": proposals.PROPOSAL, "score": 0.0}])
        if isinstance(work, Similar):
            has_some = similar_objects.has_some(task, work, model_version)
            if not has_some:
                similar_objects.check(task, work, model_version)
            return TaskAnswer([] if has_some else [{"id": work.beginning, "score": 0.0}])
        found = stored_prompts.results(task, work, config, model_version)
        missing = prompted.missing(found, task, work, model_version)
        return TaskAnswer([{"id": each.region_id, "score": 0.0} for each in missing])
    except Refusal as refusal:
        return TaskAnswer([], (str(refusal),))


def _answer(
    services: Services, project: Project, config_xml: str, task: Task, work: Work
) -> TaskAnswer:
    try:
        config = label_config.parse(config_xml)
        if isinstance(work, Proposals):
            return TaskAnswer(proposals.regions(services, project, task, config, work))
        if isinstance(work, Named):
            return TaskAnswer(named.regions(services, project, task, config, work))
        if isinstance(work, Similar):
            return TaskAnswer(similar_objects.regions(services, project, task, config, work))
        regions, failures = prompted.regions(services, project, task, config, work)
        return TaskAnswer(regions, tuple(failures))
    except Refusal as refusal:
        return TaskAnswer([], (str(refusal),))
    except Exception as error:  # a fault of ours must not end the work on other tasks
        logger.exception("task %s", task.get("id"))
        return TaskAnswer([], (f"the back end failed, its log says where: {error!r}",))
