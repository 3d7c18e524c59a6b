"""The usual protocol of interactive segmentation: the next click of a patient annotator. Pure.

The first click goes to the innermost pixel of the object. Each later click goes to the innermost
pixel of the largest wrong region: a positive click in a missing part, a negative one in an excess.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sam_backend.engines.frame import Floats
from sam_backend.formats.mask import Mask

MAX_CLICKS = 10


@dataclass(frozen=True)
class Click:
    x: int  # pixels
    y: int
    positive: bool


def iou(mask: Mask, truth: Mask) -> float:
    union = int(np.count_nonzero(mask | truth))
    return int(np.count_nonzero(mask & truth)) / union if union else 1.0


def next_click(mask: Mask, truth: Mask) -> Click | None:
    """The next click for a mask (H, W) and the true object (H, W). None if they agree."""
    missed, missed_area = _largest_region(truth & ~mask)
    spilt, spilt_area = _largest_region(mask & ~truth)
    if not missed_area and not spilt_area:
        return None
    positive = missed_area >= spilt_area
    x, y = innermost(missed if positive else spilt)
    return Click(x, y, positive)


def innermost(region: Mask) -> tuple[int, int]:
    """x, y of the pixel that is farthest from the outside, to which the image border belongs."""
    padded = np.pad(region.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return int(x), int(y)


def clicks_to_reach(ious: list[float], level: float) -> int:
    """The number of clicks to reach an IoU (NoC). MAX_CLICKS if it was never reached."""
    reached = [number for number, value in enumerate(ious, start=1) if value >= level]
    return reached[0] if reached else MAX_CLICKS


def tight_box(truth: Mask) -> Floats:
    """x0, y0, x1, y1 around all of truth, the last two exclusive."""
    ys, xs = np.nonzero(truth)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


def noisy_box(truth: Mask, random: np.random.Generator) -> Floats:
    """The box as a person draws it: each side is off by up to 5 % of the box, within the image."""
    box = tight_box(truth)
    size = np.tile(box[2:] - box[:2], 2)
    moved = box + random.uniform(-0.05, 0.05, 4) * size
    height, width = truth.shape
    return np.clip(moved, 0, [width, height, width, height]).astype(np.float32)


def _largest_region(wrong: Mask) -> tuple[Mask, int]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8))
    if count == 1:
        return wrong, 0
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return labels == largest, int(stats[largest, cv2.CC_STAT_AREA])
