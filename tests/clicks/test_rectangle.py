"""What a rectangle says: masks that reach all its sides count most."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.clicks import rectangle
from sam_backend.engines.frame import Floats, Frame
from sam_backend.engines.protocol import SAM, Facts

SMALL, LARGE, NOTHING = (100, 100, 140, 130), (60, 80, 200, 180), (0, 0, 0, 0)


def masks(*boxes: tuple[int, int, int, int]) -> Floats:
    """Low-res logits: 8 in a box, -8 outside it."""
    logits = np.full((len(boxes), 256, 256), -8, np.float32)
    for layer, (left, top, right, bottom) in zip(logits, boxes, strict=True):
        layer[top:bottom, left:right] = 8
    return logits


def weights(candidates: Floats, *box: float, facts: Facts = SAM) -> list[float]:
    found = rectangle.weights(candidates, np.array(box, np.float32), facts)
    assert found.sum() == pytest.approx(1)
    return [float(weight) for weight in found]


def test_the_mask_whose_box_is_the_rectangle_counts_most() -> None:
    candidates = masks(SMALL, LARGE, LARGE, LARGE)
    assert weights(candidates, 101, 99, 141, 131)[0] > 0.99
    assert weights(candidates, 61, 80, 198, 181)[3] > 0.6


def test_parts_count_less_than_the_single_and_the_whole_object() -> None:
    single, part, other_part, whole = weights(masks(SMALL, SMALL, SMALL, SMALL), *SMALL)
    assert single == whole > part == other_part > 0
    first, single, whole, last = weights(
        masks(SMALL, SMALL, SMALL, SMALL), *SMALL, facts=Facts(single=1, whole=2)
    )
    assert single == whole > first == last


def test_a_speck_far_away_does_not_change_the_box_of_a_mask() -> None:
    candidates = masks(SMALL, LARGE, LARGE, LARGE)
    candidates[0, 250, 250] = 8
    assert weights(candidates, *SMALL)[0] > 0.99


def test_doubtful_pixels_belong_to_the_box_of_a_mask() -> None:
    candidates = masks(SMALL, SMALL, SMALL, SMALL)
    candidates[3, 80:180, 60:200] = -0.5
    assert weights(candidates, *LARGE)[3] > 0.99
    assert weights(candidates, *LARGE, facts=Facts(box_doubt=0))[3] < 0.5


def test_all_masks_count_if_none_fits() -> None:
    usual = weights(masks(SMALL, SMALL, SMALL, SMALL), *SMALL)
    assert weights(masks(*[NOTHING] * 4), *SMALL) == pytest.approx(usual)
    assert weights(masks(*[SMALL] * 4), 200, 200, 210, 210) == pytest.approx(usual)
    assert weights(masks(*[NOTHING] * 4), 10, 10, 10, 10) == pytest.approx(usual)


def test_a_rectangle_in_low_res_pixels_ends_with_the_image() -> None:
    frame = Frame(300, 600)
    assert frame.low_res_box(np.array([60, 30, 300, 150], np.float32)) == pytest.approx(
        [25.6, 12.8, 128, 64]
    )
    beyond = frame.low_res_box(np.array([-60, -30, 900, 900], np.float32))
    assert beyond.tolist() == [0, 0, 256, 128]
