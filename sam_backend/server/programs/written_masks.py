"""Masks in the format that a program asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sam_backend.formats import mask_writer
from sam_backend.programs.mask import ObjectMask
from sam_backend.server.programs import fields
from sam_backend.server.programs.fields import Format

MaskWriter = Callable[[ObjectMask], dict[str, Any]]


def writer(body: Mapping[str, Any]) -> MaskWriter:
    """A function that writes masks in the format that a request asks for."""
    form = fields.form(body)
    tolerance = fields.number(body, "tolerance", 1.0, 0, 100)
    return lambda mask: _written(mask, form, tolerance)


def _written(mask: ObjectMask, form: Format, tolerance: float) -> dict[str, Any]:
    forms: dict[Format, Callable[[], Any]] = {
        "polygon": lambda: _polygons(mask, tolerance),
        "rle": lambda: mask.rle("label_studio"),
        "coco_rle": lambda: mask.rle("coco"),
        "png": lambda: mask_writer.data_url(mask.png),
        "bitmask": lambda: mask_writer.data_url(mask.bitmask_png),
    }
    box = None if mask.box is None else list(mask.box)
    score = round(mask.score, 4)
    return {"score": score, "box": box, "area": mask.area, "format": form, "mask": forms[form]()}


def _polygons(mask: ObjectMask, tolerance: float) -> list[list[list[float]]]:
    return [line.round(2).tolist() for line in mask.polygons(tolerance)]
