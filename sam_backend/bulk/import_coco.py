"""Make tasks for Label Studio of a COCO file, with its masks in the label config's form.

The file that it writes is for Label Studio's import.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from sam_backend.clicks import label_config
from sam_backend.errors import Refusal
from sam_backend.exports import task_matching
from sam_backend.exports.coco_file import CocoFile
from sam_backend.exports.coco_import import Import
from sam_backend.settings import Settings
from sam_backend.whole_files import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("coco", type=Path, help="the COCO file")
    parser.add_argument("--config", type=Path, required=True, help="the project's label config")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    pictures = parser.add_mutually_exclusive_group(required=True)
    pictures.add_argument(
        "--images",
        metavar="PREFIX",
        help="the address before the pictures' file names, e.g. /data/local-files/?d=pictures/",
    )
    pictures.add_argument("--tasks", type=Path, help="a JSON export with tasks for these pictures")
    parser.add_argument(
        "--control", help="the control for the masks; default: the first suitable one"
    )
    parser.add_argument(
        "--predictions", action="store_true", help="as predictions, not as annotations"
    )


def run(options: argparse.Namespace) -> int:
    """Exit status 0: everything is imported. 1: reported masks are missing."""
    left_out: list[str] = []

    def report(line: str) -> None:
        left_out.append(line)
        print(line, file=sys.stderr)

    config = label_config.read(options.config)
    tolerance = Settings.from_environment().polygon_tolerance
    coming = Import(CocoFile.read(options.coco), config, options.control, tolerance, report)
    if options.tasks is None:
        data = task_matching.below(options.images, config)
    else:
        data = task_matching.of_tasks(options.tasks, config)
    tasks = 0
    try:
        with replacing(options.out) as file:
            kind = "predictions" if options.predictions else "annotations"
            for task in coming.tasks(data, kind):
                file.write(b",\n" if tasks else b"[\n")
                file.write(orjson.dumps(task))
                tasks += 1
            file.write(b"\n]\n" if tasks else b"[]\n")
    except OSError as error:
        raise Refusal("files", f"{options.out} cannot be written: {error.strerror}") from None
    print(f"{coming.regions} masks of {tasks} pictures are in {options.out}")
    if left_out:
        print(f"{len(left_out)} lines above say what is missing")
    return 1 if left_out else 0
