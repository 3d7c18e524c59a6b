"""The formats of an export by their names on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sam_backend.exports.arrays import Arrays
from sam_backend.exports.coco import Coco
from sam_backend.exports.formats import Categories, Format
from sam_backend.exports.png import Instances, Labels, Regions, Semantic
from sam_backend.exports.yolo import Yolo

FORMATS = ("coco", "yolo", "numpy", "regions", "labels", "semantic", "instances")


def open_format(name: str, out: Path, categories: Categories, *, coco_polygons: bool) -> Format:
    """The format of that name, which writes below a folder."""
    formats: dict[str, Callable[[], Format]] = {
        "coco": lambda: Coco(out / "coco.json", categories, polygons=coco_polygons),
        "yolo": lambda: Yolo(out / "yolo", categories),
        "numpy": lambda: Arrays(out / "numpy"),
        "regions": lambda: Regions(out / "regions"),
        "labels": lambda: Labels(out / "labels", categories),
        "semantic": lambda: Semantic(out / "semantic", categories),
        "instances": lambda: Instances(out / "instances"),
    }
    return formats[name]()
