"""The options of a run: which tasks it reads, and where its predictions go."""

from __future__ import annotations

import argparse
import hashlib
import math
from pathlib import Path

from sam_backend.bulk.task_stores import (
    FileTasks,
    PredictionStore,
    ProjectTasks,
    Tasks,
    ToFile,
    ToLabelStudio,
)
from sam_backend.bulk.work import Work
from sam_backend.errors import Refusal
from sam_backend.label_studio.api import StudioApi
from sam_backend.settings import Settings


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


def tasks(options: argparse.Namespace, settings: Settings) -> Tasks:
    """The tasks of a project or of a file."""
    if options.tasks is None:
        return ProjectTasks(StudioApi(settings), options.project, options.task_ids)
    if options.config is None:
        raise Refusal("config", "--tasks needs --config: the project's label config in a file")
    try:
        config = options.config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("config", f"{options.config} cannot be read: {error}") from None
    found = FileTasks(options.tasks, config, options.task_ids)
    if options.predictions_only:
        found.check_that_label_studio_has_them()
    return found


def output(
    options: argparse.Namespace, settings: Settings, source: Tasks, work: Work, version: str
) -> PredictionStore:
    """Where predictions go: to Label Studio, or to a file that a second run may resume."""
    if options.output is None:
        if options.tasks is not None:
            raise Refusal("output", "--tasks needs --output: a file to import into Label Studio")
        return ToLabelStudio(StudioApi(settings))
    # If all of this is equal, a second run may resume the first.
    parts = [source.project, source.config_xml, repr(work), version, repr(options.task_ids)]
    digest = hashlib.sha256("\n".join(parts).encode())
    if options.tasks is not None:
        digest.update(options.tasks.read_bytes())
    only = options.predictions_only or options.tasks is None
    return ToFile(options.output, digest.hexdigest(), predictions_only=only)
