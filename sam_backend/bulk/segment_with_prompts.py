"""Masks for the existing boxes and keypoints of tasks, as predictions."""

from __future__ import annotations

import argparse

from sam_backend.bulk import prediction_run, run_options
from sam_backend.bulk.prompted import Prompted
from sam_backend.bulk.stored_prompts import ANNOTATIONS, PREDICTIONS, PromptChoice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    run_options.add_arguments(parser)
    parser.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        default=[ANNOTATIONS, PREDICTIONS],
        metavar="PLACE",
        help=f"{ANNOTATIONS}, {PREDICTIONS}, or names of data fields (default: the first two)",
    )
    parser.add_argument("--label", nargs="+", default=[], help="only prompts with these labels")
    parser.add_argument("--model-version", help="only predictions of this version")


def run(options: argparse.Namespace) -> int:
    choice = PromptChoice(tuple(options.sources), tuple(options.label), options.model_version)
    return prediction_run.run(options, Prompted(choice))
