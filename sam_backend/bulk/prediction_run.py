"""A run over many tasks: its options, its progress, and its summary. Both commands share it."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sam_backend.bulk import overlay
from sam_backend.bulk.answers import TaskAnswer, Work, planned
from sam_backend.bulk.job import Job, Pool
from sam_backend.bulk.progress import progress
from sam_backend.bulk.task_stores import (
    FileTasks,
    PredictionStore,
    ProjectTasks,
    Task,
    Tasks,
    ToFile,
    ToLabelStudio,
)
from sam_backend.bulk.workers import Workers
from sam_backend.engines import choice
from sam_backend.errors import Refusal, SettingsError
from sam_backend.installation import pip_install
from sam_backend.label_studio.api import StudioApi
from sam_backend.settings import Settings

DONE, FAILED = 0, 1  # exit statuses; the caller has one for a run that cannot start
_MOST_REFUSED = 5  # after this many rejected predictions in a row, Label Studio is down or too old
_NAMED = 8  # tasks to name for each reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tasks = parser.add_mutually_exclusive_group(required=True)
    tasks.add_argument("--project", type=int, metavar="N", help="the tasks of a project")
    tasks.add_argument("--tasks", type=Path, metavar="FILE", help="tasks, exported as JSON")
    parser.add_argument("--config", type=Path, metavar="XML", help="label config, with --tasks")
    parser.add_argument("--task-ids", type=int, nargs="+", default=[], metavar="ID")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="a file to import, instead of Label Studio"
    )
    parser.add_argument(
        "--predictions-only",
        action="store_true",
        help="with --tasks: write predictions for existing tasks, not whole tasks",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be done")
    parser.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="processes (default: 1; with --ray, one for each core, or for each GPU)",
    )
    parser.add_argument(
        "--devices",
        nargs="+",
        metavar="DEVICE",
        help="devices that the workers use in turn, e.g. cuda:0 cuda:1",
    )
    parser.add_argument("--preview", type=Path, metavar="DIR", help="write pictures of the masks")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="compute on a Ray cluster: its address, or nothing on a machine that belongs to it",
    )


@dataclass
class _Tally:
    """The results of a run."""

    regions: int = 0
    masked: int = 0
    before: int = 0  # done by an earlier run
    nothing: int = 0
    failed: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)  # and the tasks' names

    @property
    def done(self) -> int:
        return self.masked + self.before + self.nothing + self.failed

    def add(self, task: Task, key: str, answer: TaskAnswer) -> None:
        for reason in answer.failures:
            self.reasons.setdefault(reason, []).append(str(task.get("id", f"no. {key}")))
        self.regions += len({str(region["id"]) for region in answer.regions})
        if answer.failures:
            self.failed += 1
        elif answer.regions:
            self.masked += 1
        else:
            self.nothing += 1

    def report(self, verb: str) -> str:
        parts = [f"{self.done} tasks: {self.masked} {verb}"]
        parts += [f"{self.before} done before"] if self.before else []
        parts += [f"{self.nothing} with nothing to do"] if self.nothing else []
        parts += [f"{self.failed} failed, at least in part"] if self.failed else []
        lines = [f"{', '.join(parts)}; {self.regions} regions"]
        for reason, names in sorted(self.reasons.items(), key=lambda item: -len(item[1])):
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            lines.append(f"  {reason} (task {', '.join(names[:_NAMED])}{more})")
        return "\n".join(lines)


def run(options: argparse.Namespace, work: Work) -> int:
    """Does the run and prints its summary. Returns the exit status. Refusal if it cannot start."""
    if options.ray is not None:
        _check_ray(options)
    settings = Settings.from_environment()
    devices = options.devices or [settings.device]
    for device in devices:
        checked = choice.plan(Settings.from_environment({**os.environ, "DEVICE": device}))
        if options.ray is None:  # the machines of a cluster check what they have
            choice.check(checked)
    chosen = choice.plan(settings)
    tasks = _tasks(options, settings)
    if options.dry_run:
        return _dry_run(tasks, work, chosen.model_version)
    if options.preview is not None:
        _make_folder(options.preview)
    job = Job(settings, tasks.project, tasks.config_xml, work, options.preview)
    pool = _pool(options, job, chosen.model_version, devices)
    output = _output(options, settings, tasks, work, chosen.model_version)
    tally = _work(tasks, output, pool, chosen.model_version)
    if options.preview is not None:
        overlay.contact_sheet(options.preview)
    print(tally.report("with masks"))
    return FAILED if tally.failed else DONE


def _check_ray(options: argparse.Namespace) -> None:
    if importlib.util.find_spec("ray") is None:
        raise SettingsError(f"--ray needs Ray: {pip_install('ray')}")
    if options.preview is not None:
        raise SettingsError("--preview needs workers on this machine: leave out --ray")


def _pool(options: argparse.Namespace, job: Job, model_version: str, devices: list[str]) -> Pool:
    if options.ray is None:
        return Workers(job, options.workers or 1, devices)
    from sam_backend.bulk.ray_workers import RayWorkers  # noqa: PLC0415 (Ray is optional)

    return RayWorkers(job, model_version, options.workers, devices, options.ray)


def _work(tasks: Tasks, output: PredictionStore, pool: Pool, model_version: str) -> _Tally:
    tally, refused = _Tally(), 0
    bar = progress(len(tasks))

    def waiting() -> Iterator[tuple[str, Task]]:
        for key, task in tasks:
            if output.has(key):
                tally.before += 1
                bar.initial += 1  # an earlier run's tasks say nothing about the rate
                bar.update()
            else:
                yield key, task

    answers = pool.answers(waiting())
    try:
        for key, task, answer in answers:
            prediction = answer.prediction(model_version)
            try:
                output.put(key, task, prediction, complete=not answer.failures)
                refused = 0
            except Refusal as refusal:
                refused += 1
                answer = TaskAnswer([], (*answer.failures, str(refusal)))  # noqa: PLW2901
            tally.add(task, key, answer)
            bar.update()
            if refused == _MOST_REFUSED:
                print("\nLabel Studio accepts no predictions: stopped early", file=sys.stderr)
                break
    finally:
        answers.close()  # type: ignore[attr-defined]  # a generator: it ends the processes
        bar.close()
    output.finish(tasks, complete=not tally.failed)
    return tally


def _dry_run(tasks: Tasks, work: Work, model_version: str) -> int:
    tally = _Tally()
    for key, task in tasks:
        answer = planned(tasks.config_xml, task, work, model_version)
        tally.add(task, key, answer)
    print(tally.report("would get masks"))
    return FAILED if tally.failed else DONE


def _tasks(options: argparse.Namespace, settings: Settings) -> Tasks:
    if options.tasks is None:
        return ProjectTasks(StudioApi(settings), options.project, options.task_ids)
    if options.config is None:
        raise Refusal("config", "--tasks needs --config: the project's label config in a file")
    try:
        config = options.config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("config", f"{options.config} cannot be read: {error}") from None
    return FileTasks(options.tasks, config, options.task_ids)


def _output(
    options: argparse.Namespace, settings: Settings, tasks: Tasks, work: Work, version: str
) -> PredictionStore:
    if options.output is None:
        if options.tasks is not None:
            raise Refusal("output", "--tasks needs --output: a file to import into Label Studio")
        return ToLabelStudio(StudioApi(settings))
    # If all of this is equal, a second run may resume the first.
    parts = [tasks.project, tasks.config_xml, repr(work), version, repr(options.task_ids)]
    digest = hashlib.sha256("\n".join(parts).encode())
    if options.tasks is not None:
        digest.update(options.tasks.read_bytes())
    only = options.predictions_only or options.tasks is None
    return ToFile(options.output, digest.hexdigest(), predictions_only=only)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal("output", f"{folder} cannot be made: {error.strerror}") from None


def count(text: str) -> int:
    """An option with a whole number."""
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000")
    return int(text)


def share(text: str) -> float:
    """An option with a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return number
