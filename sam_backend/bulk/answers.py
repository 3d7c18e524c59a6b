"""Answers for tasks without a click: masks for the prompts in the task, or proposals.

Label Studio's batch requests use it with a deadline, and the commands without one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sam_backend import named_objects
from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import PromptChoice, StoredObject
from sam_backend.clicks import everything, label_config
from sam_backend.clicks.controls import ImageObject, OutputChoice
from sam_backend.clicks.everything import Level
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.clicks.words import Phrase
from sam_backend.errors import Refusal
from sam_backend.formats.results import Result as SavedResult
from sam_backend.images.sources import Picture
from sam_backend.services import Services
from sam_backend.shared.projects import Project

logger = logging.getLogger("sam_backend")

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


@dataclass(frozen=True)
class Named:
    """What to look for in each picture, in words."""

    phrases: tuple[Phrase, ...]


Work = PromptChoice | Proposals | Named


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
    for task, answer in zip(tasks, answers, strict=True):
        for failure in answer.failures if answer else ():
            services.refusals.report(f"task {task.get('id')}", Refusal("batch", failure))
        prediction = answer.prediction(services.model_version) if answer else None
        found.append([prediction] if prediction else [])
    return found


def planned(config_xml: str, task: Task, work: Work, model_version: str) -> TaskAnswer:
    """The answer of a dry run: for each object, a region with an id but without a mask."""
    try:
        config = label_config.parse(config_xml)
        if isinstance(work, Named):
            has_some = _has_named(task, work, model_version)
            return TaskAnswer([] if has_some else [{"id": work.phrases[0].id_of(1), "score": 0.0}])
        if isinstance(work, Proposals):
            has_some = _has_proposals(task, model_version)
            return TaskAnswer([] if has_some else [{"id": PROPOSAL, "score": 0.0}])
        found = stored_prompts.results(task, work, config, model_version)
        missing = _missing(found, task, work, model_version)
        return TaskAnswer([{"id": each.region_id, "score": 0.0} for each in missing])
    except Refusal as refusal:
        return TaskAnswer([], (str(refusal),))


def _answer(
    services: Services, project: Project, config_xml: str, task: Task, work: Work
) -> TaskAnswer:
    try:
        config = label_config.parse(config_xml)
        if isinstance(work, Proposals):
            return _proposals(services, project, task, config, work)
        if isinstance(work, Named):
            return _named(services, project, task, config, work)
        return _masks(services, project, task, config, work)
    except Refusal as refusal:
        return TaskAnswer([], (str(refusal),))
    except Exception as error:  # a fault of ours must not end the work on other tasks
        logger.exception("task %s", task.get("id"))
        return TaskAnswer([], (f"the back end failed, its log says where: {error!r}",))


def _masks(
    services: Services, project: Project, task: Task, config: LabelConfig, wanted: PromptChoice
) -> TaskAnswer:
    """The masks of the objects under a task's own prompts."""
    found = stored_prompts.results(task, wanted, config, services.model_version)
    by_image: dict[tuple[str, int | None], list[SavedResult]] = {}
    for result in found:
        by_image.setdefault((str(result.get("to_name")), result.get("item_index")), []).append(
            result
        )
    regions: list[Result] = []
    failures: list[str] = []
    for (to_name, item_index), members in by_image.items():
        missing = {o.region_id for o in _missing(members, task, wanted, services.model_version)}
        if not missing:
            continue
        picture = Picture(project, task, config.image(to_name), item_index)
        embedding = services.pictures.embedding(picture)
        sized = [stored_prompts.with_size(r, embedding.width, embedding.height) for r in members]
        for each in stored_prompts.objects(sized, wanted):
            if each.region_id in missing:
                try:
                    regions += _mask(services, picture, config, each)
                except Refusal as refusal:
                    failures.append(str(refusal))
    return TaskAnswer(regions, tuple(failures))


def _missing(
    found: Sequence[SavedResult], task: Task, wanted: PromptChoice, model_version: str
) -> list[StoredObject]:
    """The objects that have no mask yet."""
    there = stored_prompts.masked(task, model_version)
    # Which prompts make an object does not depend on the size, so no image is read for it.
    guessed = [stored_prompts.with_size(result, 1, 1) for result in found]
    return [each for each in stored_prompts.objects(guessed, wanted) if each.region_id not in there]


def _mask(
    services: Services, picture: Picture, config: LabelConfig, each: StoredObject
) -> list[Result]:
    target, first = each.target, each.prompts[0]
    control = stored_prompts.output_control(config, target, first.control)
    output = Output.of(config, target, OutputChoice(control.name, 1))
    embedding = services.pictures.embedding(picture, target.size)
    # Objects of its own: annotators' clicks keep what is remembered for them.
    found = Objects().results(
        services.engine.ready(),
        embedding,
        output,
        each.prompts,
        task={},
        sent={first.id},
        polygon_tolerance=services.settings.polygon_tolerance,
        learnt=services.learning.learnt(picture.project, target.labels),
    )
    if not found:
        kind = "rectangle" if first.is_rectangle else "keypoint"
        raise Refusal("prompt", f"the model finds no object at the {kind} {first.id}")
    return found


def _proposals(
    services: Services, project: Project, task: Task, config: LabelConfig, work: Proposals
) -> TaskAnswer:
    """All objects that the model finds in a task's first image, or in all of its pages."""
    if _has_proposals(task, services.model_version):
        return TaskAnswer([])
    image = _first_image(config)
    regions: list[Result] = []
    for page in _pages(task, image):
        picture = Picture(project, task, image, page)
        embedding = services.pictures.embedding(picture)
        size = embedding.width, embedding.height
        labels = () if work.label is None else (work.label,)
        output = _output(config, Target(image.name, page, labels, *size, rotation=0))
        found = everything.proposals(
            services.engine.ready(),
            embedding,
            level=work.level,
            grid=work.grid,
            min_iou=work.min_iou,
            most=work.most,
            crops=work.crops,
            pixels=partial(services.pictures.pixels, picture),
        )
        for number, proposal in enumerate(found, start=1):
            name = f"{PROPOSAL}{number}" if page is None else f"{PROPOSAL}{page}-{number}"
            regions += output.results(name, proposal, services.settings.polygon_tolerance)
    return TaskAnswer(regions)


def _named(
    services: Services, project: Project, task: Task, config: LabelConfig, work: Named
) -> TaskAnswer:
    """All objects with a name in a task's first image, or in all of its pages."""
    if _has_named(task, work, services.model_version):
        return TaskAnswer([])
    regions: list[Result] = []
    image = _first_image(config)
    target = Target(image.name, None, (), 1, 1, rotation=0)
    choice = OutputChoice(stored_prompts.output_control(config, target, "").name, 1)
    for page in _pages(task, image):
        picture = Picture(project, task, image, page)
        for found in named_objects.results(services, picture, config, work.phrases, choice):
            regions += found if page is None else [{**r, "id": f"{r['id']}-{page}"} for r in found]
    return TaskAnswer(regions)


def _has_named(task: Task, work: Named, model_version: str) -> bool:
    beginnings = tuple(phrase.beginning for phrase in work.phrases)
    return any(id_.startswith(beginnings) for id_ in stored_prompts.masked(task, model_version))


def _first_image(config: LabelConfig) -> ImageObject:
    if not config.images:
        raise Refusal("config", "the label config has no <Image>")
    return config.images[0]


def _has_proposals(task: Task, model_version: str) -> bool:
    return any(id_.startswith(PROPOSAL) for id_ in stored_prompts.masked(task, model_version))


def _output(config: LabelConfig, target: Target) -> Output:
    """The control for proposals. A control with labels also accepts proposals without a label."""
    control = stored_prompts.output_control(config, target, "")
    if target.labels:
        return Output.of(config, target, OutputChoice(control.name, 1))
    return Output(target, control, None, (), 1)


def _pages(task: Task, image: ImageObject) -> list[int | None]:
    value = (task.get("data") or {}).get(image.data_key)
    if image.is_list and isinstance(value, list):
        return list(range(len(value)))
    return [None]
