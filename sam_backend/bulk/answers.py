"""What a task is answered without a click: masks for prompts it holds already, or proposals.

One call serves Label Studio's batch request, with a deadline, and the commands, without.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import StoredObject, Wanted
from sam_backend.clicks import everything, label_config
from sam_backend.clicks.controls import ImageObject, Wishes
from sam_backend.clicks.everything import Level
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.errors import Refusal
from sam_backend.formats.results import Result as SavedResult
from sam_backend.images.sources import Picture
from sam_backend.services import Services
from sam_backend.shared.state import Project

logger = logging.getLogger("sam_backend")

PROPOSAL = "proposal-"  # how the ids of proposals begin

Task = Mapping[str, Any]


@dataclass(frozen=True)
class Proposals:
    """How everything in a picture is to be proposed."""

    label: str | None = None  # None: left for the annotator
    level: Level = "all"
    grid: int = everything.GRID
    crops: int = 0
    most: int = everything.MOST
    min_iou: float = everything.MIN_IOU


Asked = Wanted | Proposals


@dataclass(frozen=True)
class Answer:
    """The new regions of a task, and what could not be made, a line each."""

    regions: list[Result]
    failures: tuple[str, ...] = ()

    def prediction(self, model_version: str) -> dict[str, Any] | None:
        """As Label Studio takes it; None where an empty one would only hide the task."""
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
    asked: Sequence[tuple[Task, Asked]],
    deadline: float | None = None,
) -> list[Answer | None]:
    """An answer for each task; None for those that time does not suffice for.

    `deadline` is of `time.monotonic()`. A task is begun while one as slow as the slowest so far
    would be done in time; the images of those left out are then made ready for the next request.
    """
    found: list[Answer | None] = []
    known, slowest = services.state.project(project), 0.0
    for task, wanted in asked:
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
    """What Label Studio is answered that asks for predictions of tasks, without a click.

    Masks for the prompts that a task has; for one without prompts and predictions, `proposals` if
    they are wanted. An empty list where there is nothing to say, or no time.
    """
    asked: list[tuple[Task, Asked]] = []
    for task in tasks:
        todo: Asked = Wanted()
        if proposals is not None and not task.get("predictions"):
            has_prompts = planned(config_xml, task, todo, services.model_version)
            todo = todo if has_prompts.regions or has_prompts.failures else proposals
        asked.append((task, todo))
    found: list[list[dict[str, Any]]] = []
    answers = answer_tasks(services, project, config_xml, asked, deadline)
    for task, answer in zip(tasks, answers, strict=True):
        for failure in answer.failures if answer else ():
            services.refusals.report(f"task {task.get('id')}", Refusal("batch", failure))
        prediction = answer.prediction(services.model_version) if answer else None
        found.append([prediction] if prediction else [])
    return found


def planned(config_xml: str, task: Task, asked: Asked, model_version: str) -> Answer:
    """The answer without its masks: a region with an id for each object, for a dry run."""
    try:
        config = label_config.parse(config_xml)
        if isinstance(asked, Proposals):
            has_some = _has_proposals(task, model_version)
            return Answer([] if has_some else [{"id": PROPOSAL, "score": 0.0}])
        found = stored_prompts.results(task, asked, config, model_version)
        missing = _missing(found, task, asked, model_version)
        return Answer([{"id": each.region_id, "score": 0.0} for each in missing])
    except Refusal as refusal:
        return Answer([], (str(refusal),))


def _answer(
    services: Services, project: Project, config_xml: str, task: Task, asked: Asked
) -> Answer:
    try:
        config = label_config.parse(config_xml)
        if isinstance(asked, Proposals):
            return _proposals(services, project, task, config, asked)
        return _masks(services, project, task, config, asked)
    except Refusal as refusal:
        return Answer([], (str(refusal),))
    except Exception as error:  # a fault of ours must not end the work on other tasks
        logger.exception("task %s", task.get("id"))
        return Answer([], (f"the back end failed, its log says where: {error!r}",))


def _masks(
    services: Services, project: Project, task: Task, config: LabelConfig, wanted: Wanted
) -> Answer:
    """The masks of the objects that a task's own prompts point at."""
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
    return Answer(regions, tuple(failures))


def _missing(
    found: Sequence[SavedResult], task: Task, wanted: Wanted, model_version: str
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
    output = Output.of(config, target, Wishes(control.name, 1))
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
    )
    if not found:
        kind = "rectangle" if first.is_rectangle else "keypoint"
        raise Refusal("prompt", f"the model sees no object at the {kind} {first.id}")
    return found


def _proposals(
    services: Services, project: Project, task: Task, config: LabelConfig, asked: Proposals
) -> Answer:
    """Everything that the model sees in a task's first image, or in all of its pages."""
    if _has_proposals(task, services.model_version):
        return Answer([])
    if not config.images:
        raise Refusal("config", "the label config has no <Image>")
    image = config.images[0]
    regions: list[Result] = []
    for page in _pages(task, image):
        picture = Picture(project, task, image, page)
        embedding = services.pictures.embedding(picture)
        size = embedding.width, embedding.height
        labels = () if asked.label is None else (asked.label,)
        output = _output(config, Target(image.name, page, labels, *size, rotation=0))
        found = everything.proposals(
            services.engine.ready(),
            embedding,
            level=asked.level,
            grid=asked.grid,
            min_iou=asked.min_iou,
            most=asked.most,
            crops=asked.crops,
            pixels=partial(services.pictures.pixels, picture),
        )
        for number, proposal in enumerate(found, start=1):
            name = f"{PROPOSAL}{number}" if page is None else f"{PROPOSAL}{page}-{number}"
            regions += output.results(name, proposal, services.settings.polygon_tolerance)
    return Answer(regions)


def _has_proposals(task: Task, model_version: str) -> bool:
    return any(id_.startswith(PROPOSAL) for id_ in stored_prompts.masked(task, model_version))


def _output(config: LabelConfig, target: Target) -> Output:
    """Where proposals go; unlabelled ones too, which a control with labels takes without."""
    control = stored_prompts.output_control(config, target, "")
    if target.labels:
        return Output.of(config, target, Wishes(control.name, 1))
    return Output(target, control, None, (), 1)


def _pages(task: Task, image: ImageObject) -> list[int | None]:
    value = (task.get("data") or {}).get(image.data_key)
    if image.is_list and isinstance(value, list):
        return list(range(len(value)))
    return [None]
