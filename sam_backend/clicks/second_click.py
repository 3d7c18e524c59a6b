"""What the second click says about the object: it lies where the first answer was wrong. Pure.

People correct the largest wrong region, and click inside it. So each mask that the object may have
is more or less likely, given the answer that they saw and the place of their click.
"""

from __future__ import annotations

import cv2
import numpy as np

from sam_backend.engines.frame import Floats, Indices
from sam_backend.formats.mask import Mask

_DEPTH = 1.3  # people hit a pixel of the wrong region with a probability of its depth to this power
_BESIDE = 0.1  # the share of clicks that miss the region by a little
_NEAR = 2  # low-res pixels
_OTHER_REGION = 0.2  # the weight of a click that leaves a larger error of the other kind
_ELSEWHERE = 0.02  # the share of clicks that follow no rule
_TRUST = 0.6  # below 1, because people see more than two masks


def chances(masks: Mask, likely: Floats, answer: Mask, spots: Indices, positive: Mask) -> Floats:
    """How likely each mask (n, h, w) is the object: n weights, of sum 1.

    `likely` are n weights without the newest click, `answer` (h, w) is the answer that it corrects.
    Spots (k, 2) x, y are the clicks so far, and positive (k,) their kinds.
    """
    weights = np.log(np.maximum(likely, 1e-6))
    for index, mask in enumerate(masks):
        broken = np.count_nonzero(mask[spots[:, 1], spots[:, 0]] != positive)
        density = _density(mask, answer, spots[-1], bool(positive[-1]))
        weights[index] += _TRUST * np.log(density) - broken
    weights = np.exp(weights - weights.max())
    found: Floats = (weights / weights.sum()).astype(np.float32)
    return found


def best(answers: Mask, masks: Mask, weights: Floats) -> int:
    """The index of the answer (k, h, w) with the largest expected overlap with the object."""
    flat = masks.reshape(len(masks), -1)
    expected = [
        weights @ ((flat & answer).sum(axis=1) / np.maximum((flat | answer).sum(axis=1), 1))
        for answer in answers.reshape(len(answers), -1)
    ]
    return int(np.argmax(expected))


def _density(mask: Mask, answer: Mask, spot: Indices, positive: bool) -> float:
    """The probability of a click at this very pixel if the object were this mask (h, w)."""
    wrong, other = (
        (mask & ~answer, answer & ~mask) if positive else (answer & ~mask, mask & ~answer)
    )
    _, labels, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8))
    elsewhere = _ELSEWHERE / mask.size
    if len(stats) == 1:
        return elsewhere
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    left, top, width, height, area = stats[largest]
    part = labels[top : top + height, left : left + width] == largest
    x, y = spot - [left, top]
    density = 0.0
    if 0 <= x < width and 0 <= y < height and part[y, x]:
        padded = np.pad(part.astype(np.uint8), 1)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1] ** _DEPTH
        density = float(depth[y, x] / depth.sum())
        if _largest_area(other, area) > area:
            density *= _OTHER_REGION
    near = part[
        max(0, y - _NEAR) : max(0, y + _NEAR + 1), max(0, x - _NEAR) : max(0, x + _NEAR + 1)
    ]
    return float(max(elsewhere, density + _BESIDE / area * bool(near.any())))


def _largest_area(region: Mask, least: int) -> int:
    """The area of its largest component, or 0 if that is smaller than `least`."""
    if np.count_nonzero(region) <= least:
        return 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    return int(stats[1:, cv2.CC_STAT_AREA].max())
