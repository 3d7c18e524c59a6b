"""Masks of the other objects that are like the masks of a label, as predictions."""

from __future__ import annotations

import argparse

from sam_backend.bulk import prediction_run, run_options
from sam_backend.bulk.similar_objects import Similar
from sam_backend.bulk.stored_prompts import ANNOTATIONS, PREDICTIONS


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


def run(options: argparse.Namespace) -> int:
    return prediction_run.run(options, Similar(options.label, options.place))
