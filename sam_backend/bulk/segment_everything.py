"""Proposals for everything in the pictures of tasks, as predictions."""

from __future__ import annotations

import argparse

from sam_backend.bulk import named, prediction_run, run_options
from sam_backend.bulk.proposals import Proposals
from sam_backend.clicks import everything
from sam_backend.engines import text_choice
from sam_backend.errors import Refusal
from sam_backend.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    run_options.add_arguments(parser)
    parser.add_argument(
        "--text",
        metavar="PHRASES",
        help="only what these phrases name, for example 'car; person'. It needs SAM_TEXT_MODEL. "
        "A phrase with the name of a label gets that label",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="PHRASE=LABEL",
        help="with --text: the label for a phrase of another name",
    )
    parser.add_argument(
        "--label", help="the label of all proposals (default: none, so that annotators choose)"
    )
    parser.add_argument("--level", choices=everything.LEVELS, default="all")
    parser.add_argument(
        "--grid",
        type=run_options.count,
        default=everything.GRID,
        metavar="N",
        help="points along each side",
    )
    parser.add_argument(
        "--crops",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="levels of smaller crops: 1 adds 2 x 2 parts, 2 also 4 x 4",
    )
    parser.add_argument(
        "--most",
        type=run_options.count,
        default=everything.MOST,
        metavar="N",
        help="proposals for a picture",
    )
    parser.add_argument(
        "--min-iou",
        type=run_options.share,
        default=everything.MIN_IOU,
        metavar="SHARE",
        help="the least predicted IoU of a mask, 0 to 1",
    )


def run(options: argparse.Namespace) -> int:
    if options.text is not None:
        work = named.read(options.text, options.map)
        text_model = Settings.from_environment().text_model
        if text_model is None:
            raise Refusal("config", "--text needs SAM_TEXT_MODEL, see docs/models.md")
        text_choice.check(text_model)
        return prediction_run.run(options, work)
    proposals = Proposals(
        label=options.label,
        level=options.level,
        grid=options.grid,
        crops=options.crops,
        most=options.most,
        min_iou=options.min_iou,
    )
    return prediction_run.run(options, proposals)
