"""Where annotators click, pure: four habits, of which one is measured on people.

The first click lies in the object, each later one in the largest region that is wrong: positive
where the mask misses, negative where it spills. The habits differ in the pixel that they choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from sam_backend.engines.frame import Floats
from sam_backend.formats.mask import Mask

MAX_CLICKS = 10
# A click beside a wrong region is no farther away than this share of the region's depth.
BESIDE = 0.25


@dataclass(frozen=True)
class Click:
    x: int  # pixels
    y: int
    positive: bool


Weights = Callable[
    [Floats], Floats | Mask
]  # from depths (h, w), 0 outside, to how often a pixel is hit


@dataclass(frozen=True)
class Habit:
    """How an annotator chooses a pixel of a region, for the first click and for corrections."""

    name: str
    first: Weights
    later: Weights
    beside: float = 0.0  # the share of corrections that miss the wrong region by a little


INNERMOST = Habit("innermost", lambda d: d >= d.max(), lambda d: d >= d.max())
# In the 475,544 human clicks of RClicks (NeurIPS 2024), the depth at the first click is 1.8 to 2.1
# times the region's mean depth, at later ones 1.5 to 1.8 times, and 9 to 13 % of those miss.
HUMAN_LIKE = Habit("human-like", lambda d: d**2.4, lambda d: d**1.3, beside=0.1)
INNER_HALF = Habit("inner half", lambda d: d >= d.max() / 2, lambda d: d >= d.max() / 2)
ANYWHERE = Habit("anywhere", lambda d: d > 0, lambda d: d > 0)
HABITS = (HUMAN_LIKE, INNERMOST, INNER_HALF, ANYWHERE)


def first_click(truth: Mask, habit: Habit, random: np.random.Generator) -> Click:
    """A positive click on the object (H, W)."""
    region = _Region(truth, *_bounds(truth))
    return Click(*region.pixel(habit.first, random), positive=True)


def next_click(mask: Mask, truth: Mask, habit: Habit, random: np.random.Generator) -> Click | None:
    """The next click for a mask (H, W) and the true object (H, W). None if they agree."""
    missed, spilt = _largest_region(truth & ~mask), _largest_region(mask & ~truth)
    positive = missed.area >= spilt.area
    region = missed if positive else spilt
    if not region.area:
        return None
    if random.random() < habit.beside:
        return Click(*region.pixel_beside(random), positive)
    return Click(*region.pixel(habit.later, random), positive)


def tight_box(truth: Mask) -> Floats:
    """x0, y0, x1, y1 around all of truth, the last two exclusive."""
    x, y, width, height = _bounds(truth)
    return np.array([x, y, x + width, y + height], np.float32)


def noisy_box(truth: Mask, random: np.random.Generator) -> Floats:
    """The tight box as a hand draws it: each side off by up to 5 % of the box, within the image."""
    box = tight_box(truth)
    size = np.tile(box[2:] - box[:2], 2)
    moved = box + random.uniform(-0.05, 0.05, 4) * size
    height, width = truth.shape
    return np.clip(moved, 0, [width, height, width, height]).astype(np.float32)


class _Region:
    """A region of the image (H, W), cut out with a margin."""

    def __init__(self, whole: Mask, x: int, y: int, width: int, height: int) -> None:
        margin = 2 + max(width, height) // 4
        self.left, self.top = max(0, x - margin), max(0, y - margin)
        self.part = whole[self.top : y + height + margin, self.left : x + width + margin]
        self.area = int(np.count_nonzero(self.part))

    def pixel(self, weights: Weights, random: np.random.Generator) -> tuple[int, int]:
        """x, y of one of its pixels."""
        return self._drawn(weights(_depth(self.part)), random)

    def pixel_beside(self, random: np.random.Generator) -> tuple[int, int]:
        """x, y of a pixel just outside it; inside where it fills the image."""
        reach = max(2.0, BESIDE * float(_depth(self.part).max()))
        away = cv2.distanceTransform(
            (~self.part).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
        )
        beside = (away > 0) & (away <= reach)
        return self._drawn(beside if beside.any() else self.part, random)

    def _drawn(self, weights: Floats | Mask, random: np.random.Generator) -> tuple[int, int]:
        total = np.cumsum(weights, dtype=np.float64)
        drawn = int(np.searchsorted(total, random.random() * total[-1], side="right"))
        y, x = np.unravel_index(min(drawn, weights.size - 1), weights.shape)
        return self.left + int(x), self.top + int(y)


def _depth(region: Mask) -> Floats:
    """How far each pixel (h, w) is from the outside; beyond the image is outside."""
    padded = np.pad(region.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[1:-1, 1:-1], np.float32)


def _bounds(region: Mask) -> tuple[int, int, int, int]:
    """x, y, width, height."""
    x, y, width, height = cv2.boundingRect(region.astype(np.uint8))
    return x, y, width, height


def _largest_region(wrong: Mask) -> _Region:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8))
    if count == 1:
        return _Region(wrong, 0, 0, 0, 0)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    x, y, width, height = (int(value) for value in stats[largest, :4])
    return _Region(labels == largest, x, y, width, height)
