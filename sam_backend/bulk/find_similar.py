"""Masks of the other objects that are like the masks of a label, as predictions."""

from __future__ import annotations

import argparse

from sam_backend.bulk import examples_elsewhere, pools, prediction_run, run_options
from sam_backend.bulk.examples_elsewhere import ExamplesElsewhere
from sam_backend.bulk.similar_objects import Similar
from sam_backend.bulk.stored_prompts import ANNOTATIONS, PREDICTIONS
from sam_backend.engines import choice
from sam_backend.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    run_options.add_arguments(parser)
    parser.add_argument("--label", required=True, help="the label whose masks are examples")
    parser.add_argument(
        "--from",
        dest="place",
        choices=(ANNOTATIONS, PREDICTIONS),
        default=ANNOTATIONS,
        help=f"where the examples are (default: {ANNOTATIONS})",
    )
    parser.add_argument(
        "--across",
        action="store_true",
        help="search tasks without an example, too: with the examples of other tasks",
    )


def run(options: argparse.Namespace) -> int:
    elsewhere = _elsewhere(options) if options.across else None
    return prediction_run.run(options, Similar(options.label, options.place, elsewhere))


def _elsewhere(options: argparse.Namespace) -> ExamplesElsewhere:
    """The examples of all tasks, also of the tasks that the run leaves out."""
    settings = Settings.from_environment()
    pools.check(options, settings)  # before anything that takes time
    every = run_options.tasks(argparse.Namespace(**{**vars(options), "task_ids": []}), settings)
    own_version = choice.plan(settings).model_version
    return examples_elsewhere.in_tasks(every, options.label, options.place, own_version)
