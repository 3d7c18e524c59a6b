"""Specks and pinholes of low-res masks: only the mask's box is searched, with the same result."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sam_backend.clicks import specks
from sam_backend.engines.frame import Floats, Indices

SHARE, SETTLED = 0.01, 1.0


def searched_everywhere(logits: Floats, spots: Indices) -> Floats:
    """The definition, over the whole picture."""
    found: Floats = logits.copy()
    tiny = SHARE * np.count_nonzero(logits > 0)
    for inside in (True, False):
        side = (found > 0) == inside
        _, labels, stats, _ = cv2.connectedComponentsWithStats(side.astype(np.uint8))
        kept = stats[:, cv2.CC_STAT_AREA] >= tiny
        kept[labels[spots[:, 1], spots[:, 0]]] = True
        kept[0] = True
        found[~kept[labels]] = -SETTLED if inside else SETTLED
    return found


def blobs(dice: np.random.Generator, height: int, width: int) -> Floats:
    """Smooth blobs of any size, some of them cut off at the edges, with some noise."""
    coarse = dice.normal(0, 1, tuple(dice.integers(3, 30, 2))).astype(np.float32)
    scaled = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    logits = np.asarray(scaled, np.float32)
    logits -= np.float32(dice.uniform(-1.5, 2))
    if dice.random() < 0.5:
        logits[: height // 3] = logits[:, : width // 4] = -3
    if dice.random() < 0.3:
        logits += np.asarray(dice.normal(0, 0.5, logits.shape), np.float32)
    return logits


@pytest.mark.parametrize(("height", "width"), [(172, 256), (256, 256), (256, 100), (1, 256)])
def test_the_box_is_enough(height: int, width: int) -> None:
    dice = np.random.default_rng(height)
    for _ in range(100):
        logits = blobs(dice, height, width)
        spots = np.stack((dice.integers(0, width, 3), dice.integers(0, height, 3)), axis=1)
        found = logits.copy()
        specks.remove(found, SHARE, SETTLED, spots)
        np.testing.assert_array_equal(found, searched_everywhere(logits, spots))


def test_an_empty_mask_stays_empty() -> None:
    logits = np.full((20, 30), -5, np.float32)
    specks.remove(logits, SHARE, SETTLED)
    assert (logits == -5).all()
    logits[:] = 5
    specks.remove(logits, SHARE, SETTLED)
    assert (logits == 5).all()


def test_a_background_that_is_cut_in_two_is_no_hole() -> None:
    logits = np.full((200, 200), 5, np.float32)
    logits[:1] = logits[-1:] = -5  # a strip of half a percent at the top, and one below
    logits[100, 100] = -5
    specks.remove(logits, SHARE, SETTLED)
    assert (logits > 0).all()
    logits[:3] = logits[-3:] = -5  # more than a percent
    specks.remove(logits, SHARE, SETTLED)
    assert (logits[:3] < 0).all()
    assert (logits[-3:] < 0).all()
