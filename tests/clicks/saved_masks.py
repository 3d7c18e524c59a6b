"""Masks that a task has already, as Label Studio sends them in drafts."""

from __future__ import annotations

from typing import Any

import numpy as np

from sam_backend.formats import rle
from sam_backend.formats.mask import Mask


def disc(x: float, y: float, radius: float) -> Mask:
    rows, columns = np.mgrid[:300, :400]
    inside: Mask = np.hypot(columns - x, rows - y) < radius
    return inside


def region(
    id_: str, value: dict[str, Any], kind: str = "brushlabels", **more: Any
) -> dict[str, Any]:
    return {
        "id": id_,
        "type": kind,
        "from_name": "tag",
        "to_name": "image",
        "original_width": 400,
        "original_height": 300,
        "value": {**value, kind: ["Car"]},
        **more,
    }


def brush(id_: str, mask: Mask, **more: Any) -> dict[str, Any]:
    return region(id_, {"format": "rle", "rle": rle.encode(mask)}, **more)


def draft(*regions: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"id": 1, "updated_at": "2026-11-21T01:42:54Z", "result": list(regions)}]
