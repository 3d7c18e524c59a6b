"""Writes the mask of one object in a picture, without a server."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from sam_backend.errors import Refusal, SettingsError
from sam_backend.programs.mask import ObjectMask
from sam_backend.programs.segmenter import Segmenter
from sam_backend.whole_files import replacing

_SUFFIXES = (".png", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="the picture")
    parser.add_argument(
        "--point",
        type=_numbers(2),
        action="append",
        default=[],
        metavar="X,Y",
        help="a place on the object, in pixels; may be repeated",
    )
    parser.add_argument(
        "--not-point",
        type=_numbers(2),
        action="append",
        default=[],
        metavar="X,Y",
        help="a place that is not on the object; may be repeated",
    )
    parser.add_argument("--box", type=_numbers(4), metavar="X0,Y0,X1,Y1", help="around the object")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="mask.png: white where the mask is; mask.json: a COCO annotation and polygons",
    )


def run(options: argparse.Namespace) -> int:
    out: Path = options.out
    if out.suffix.lower() not in _SUFFIXES:
        raise SettingsError(f"--out {out} does not end in {' or '.join(_SUFFIXES)}")
    points = options.point + options.not_point
    labels = [1] * len(options.point) + [0] * len(options.not_point)
    try:
        image = Segmenter().embed(options.image)
        mask = image.segment(points, labels, options.box)
        with replacing(out) as file:
            file.write(mask.png if out.suffix.lower() == ".png" else _json(mask))
    except OSError as error:
        raise Refusal("file", f"{error.filename or options.image}: {error.strerror}") from None
    print(f"{out}: {mask.area} of {image.width * image.height} pixels, score {mask.score:.2f}")
    return 0


def _json(mask: ObjectMask) -> bytes:
    polygons = [line.round(2).tolist() for line in mask.polygons()]
    found = {"score": mask.score, **mask.coco(), "polygons": polygons}
    return json.dumps(found).encode()


def _numbers(count: int) -> Callable[[str], list[float]]:
    """A function that reads `count` numbers with commas between them."""

    def read(text: str) -> list[float]:
        try:
            found = [float(part) for part in text.split(",")]
        except ValueError:
            found = []
        if len(found) != count:
            raise argparse.ArgumentTypeError(f"{text!r} is not {count} numbers with commas")
        return found

    return read
