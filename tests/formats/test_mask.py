"""The box around a mask."""

from __future__ import annotations

import numpy as np

from sam_backend.formats.mask import tight_box


def test_the_box_ends_after_the_last_pixel() -> None:
    mask = np.zeros((5, 9), bool)
    mask[1, 3] = mask[3, 6] = True
    assert tight_box(mask) == (3, 1, 7, 4)


def test_an_empty_mask_has_no_box() -> None:
    assert tight_box(np.zeros((5, 9), bool)) is None
    assert tight_box(np.zeros((0, 9), bool)) is None
