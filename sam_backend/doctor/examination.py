"""All checks in their order. A check is skipped if an earlier failure makes it pointless."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sam_backend.clicks import label_config
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.doctor import (
    back_end_reachable,
    config,
    connection,
    editor,
    images,
    label_studio_reachable,
    recent_errors,
    switches,
    token,
    trial,
    trial_prompt,
)
from sam_backend.doctor.asking import Studio, value_of
from sam_backend.doctor.finding import Finding, Verdict, bad
from sam_backend.errors import Refusal
from sam_backend.images.tasks import Picture
from sam_backend.services import Services
from sam_backend.shared.projects import Project

_TASKS = 100  # that are looked through for different kinds of storage


@dataclass(frozen=True)
class Subject:
    """What is examined: a project of Label Studio, and this back end at an address."""

    services: Services
    project: int | None
    address: str  # where Label Studio is to call this back end
    # If the address is from somebody who must not choose where Label Studio connects to: a local
    # one, which shows how Label Studio treats local addresses.
    local_address: str | None = None

    @property
    def setup(self) -> Project:
        """The project and its Label Studio, from its `/setup` request or from the last one."""
        return self.services.state.numbered(self.project) or Project(str(self.project or ""))


def examine(subject: Subject) -> Iterator[Finding]:
    """The findings, one after the other as they are made."""
    services = subject.services
    place = services.access.connection(subject.setup.from_setup)
    if place is None:
        yield label_studio_reachable.unknown_place()
        yield from _of_this_server(subject)
        return
    studio = Studio(services.access, place)
    yield (found := label_studio_reachable.check(studio))
    if found.state is Verdict.GOOD:
        yield (found := token.check(studio))
    if found.state is Verdict.GOOD and subject.project is not None:
        try:
            yield from _of_project(subject, studio, subject.project)
        except Refusal as refusal:
            yield bad("Project", f"{refusal}.")
    yield from _of_this_server(subject)


def _of_this_server(subject: Subject) -> Iterator[Finding]:
    refusals = subject.services.state.refusals() or []
    yield from recent_errors.judge(refusals, time.time())


def _of_project(subject: Subject, studio: Studio, project: int) -> Iterator[Finding]:
    path = f"/api/projects/{project}"
    xml = str(value_of(studio.ask(path), path).get("label_config"))
    may_call = switches.check(studio, project, subject.local_address or subject.address)
    yield from may_call
    if subject.local_address is None and may_call[0].state is Verdict.GOOD:
        yield back_end_reachable.check(studio, project, subject.address)
    models = connection.models(studio, project)
    version = subject.services.model_version
    yield (connected := connection.judge(models, version, subject.address))
    yield config.judge(xml)
    yield editor.judge(subject.services.click_log.last(), project)
    model = connection.ours(models, version, subject.address)
    can_click = connected.state is Verdict.GOOD and model is not None
    yield from _of_images(subject, studio, xml, int(model["id"]) if model and can_click else None)


def _of_images(
    subject: Subject, studio: Studio, xml: str, model_id: int | None
) -> Iterator[Finding]:
    """The images, and a click on the first one that can be read."""
    try:
        parsed = label_config.parse(xml)
    except Refusal:  # said already
        return
    if not parsed.images:  # said already
        return
    image = parsed.images[0]  # the one that a click of the project is on
    item_index = 0 if image.is_list else None
    tasks = _tasks(studio, subject.project)
    found = images.samples(Picture(subject.setup, task, image, item_index) for task in tasks)
    if not found:
        yield images.no_tasks(image)
    readable: images.Readable | None = None
    for name, sample in found.items():
        path = f"/api/tasks/{sample.task_id}"  # with its annotations
        picture = replace(sample, task=value_of(studio.ask(path), path))
        finding, size = images.check(subject.services, picture, name)
        yield finding
        if size and readable is None:
            readable = images.Readable(picture, *size)
    if readable:
        yield _click(subject, studio, parsed, model_id, readable)


def _click(
    subject: Subject,
    studio: Studio,
    parsed: LabelConfig,
    model_id: int | None,
    image: images.Readable,
) -> Finding:
    """Clicks through Label Studio, as the editor does. If that is not possible, clicks here."""
    picture = image.picture
    results = trial_prompt.prompt(
        parsed, picture.image.name, image.width, image.height, picture.item_index
    )
    if model_id is None or not results:
        return trial.check_here(subject.services, picture)
    started = time.time()
    reply = trial.check(studio, model_id, picture.task_id, results)
    refusals = subject.services.state.refusals() or []
    return trial.judge(reply, picture.task_id, [r for r in refusals if r.time >= started])


def _tasks(studio: Studio, project: int | None) -> list[dict[str, Any]]:
    path = "/api/tasks"
    found = value_of(studio.ask(path, project=project, page=1, page_size=_TASKS), path)
    tasks = found.get("tasks") if isinstance(found, dict) else found
    return [task for task in tasks or () if isinstance(task, dict)]
