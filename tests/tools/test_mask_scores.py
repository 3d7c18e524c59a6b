"""Scores of masks against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.formats.mask import Mask
from tools.quality.mask_scores import boundary_iou, clicks_to_reach, iou


def square(left: int, right: int) -> Mask:
    mask = np.zeros((100, 100), bool)
    mask[20:80, left:right] = True
    return mask


def test_iou_is_the_shared_part() -> None:
    assert iou(square(20, 60), square(40, 80)) == pytest.approx(1 / 3)
    assert iou(square(20, 20), square(20, 20)) == 1


def test_boundary_iou_looks_at_the_edge_only() -> None:
    ragged = square(20, 80)
    ragged[20:80:2, 78:80] = False
    assert boundary_iou(square(20, 80), square(20, 80)) == 1
    assert iou(ragged, square(20, 80)) > 0.98
    assert boundary_iou(ragged, square(20, 80)) < 0.93


def test_clicks_to_reach_counts_to_the_first_that_does() -> None:
    assert clicks_to_reach([0.5, 0.9, 0.8], 0.85, most=10) == 2
    assert clicks_to_reach([0.5, 0.6], 0.85, most=10) == 10
