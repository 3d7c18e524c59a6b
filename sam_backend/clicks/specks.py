"""Removes specks and pinholes from a mask's logits. Pure.

Everything that a mask can lose or gain lies in its tight box, so only that part is searched.
"""

from __future__ import annotations

import cv2
import numpy as np

from sam_backend.engines.frame import Floats, Indices
from sam_backend.formats.mask import Box, Mask, tight_box

_NO_SPOTS = np.zeros((0, 2), np.intp)


def remove(logits: Floats, share: float, settled: float, spots: Indices = _NO_SPOTS) -> None:
    """Change components and holes that are smaller than a share of the mask, in place.

    logits (h, w) of at most 256 x 256; a changed pixel gets `settled` or minus that. Components
    and holes at spots (N, 2) x, y stay, and so do parts that are attached.
    """
    tiny = share * np.count_nonzero(logits > 0)
    for inside in (True, False):
        mask = logits > 0
        box = tight_box(mask)
        if box is None:
            return
        left, top, right, bottom = box = _wider(box, mask)
        near = logits[top:bottom, left:right]
        side = (near > 0) == inside
        _, labels, stats, _ = cv2.connectedComponentsWithStats(
            side.view(np.uint8), ltype=cv2.CV_16U
        )
        areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
        if not inside:
            _add_outside(areas, labels, box, mask)
        kept = areas >= tiny
        kept[0] = True  # the label of all that is not on this side
        x, y = spots[:, 0] - left, spots[:, 1] - top
        there = (x >= 0) & (y >= 0) & (x < right - left) & (y < bottom - top)
        kept[labels[y[there], x[there]]] = True
        if not kept.all():
            near[~kept[labels]] = -settled if inside else settled


def _wider(box: Box, mask: Mask) -> Box:
    """The box, one pixel wider on each side that is not at the edge of the mask."""
    left, top, right, bottom = box
    height, width = mask.shape
    return max(0, left - 1), max(0, top - 1), min(width, right + 1), min(height, bottom + 1)


def _add_outside(areas: Indices, labels: Indices, box: Box, mask: Mask) -> None:
    """Add what lies outside the box to the areas of the background's components in it, in place.

    An edge of the box that is not one of the picture is all background, and so is all behind it.
    """
    left, top, right, bottom = box
    height, width = mask.shape
    areas[labels[0, 0]] += top * width + left * (bottom - top)
    areas[labels[-1, -1]] += (height - bottom) * width + (width - right) * (bottom - top)
