"""The outlines of a mask's parts: those of the mask at twice the size, without making it."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from sam_backend.formats import contours
from sam_backend.formats.contours import Contour
from sam_backend.formats.mask import Mask
from tests.costs import assert_cheap, cost_of

some_masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=20))


def at_twice_the_size(mask: Mask) -> tuple[list[Contour], bool]:
    finer = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    found, hierarchy = cv2.findContours(finer, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not found:
        return [], False
    is_outer = hierarchy[0, :, 3] < 0
    kept = [c.reshape(-1, 2) for c, keep in zip(found, is_outer, strict=True) if keep]
    return kept, not is_outer.all()


def assert_same(mask: Mask) -> None:
    (found, has_holes), (expected, should_have) = contours.outer(mask), at_twice_the_size(mask)
    assert has_holes == should_have
    for contour, other in zip(found, expected, strict=True):
        assert np.array_equal(contour, other)


@given(some_masks)
def test_any_mask(mask: Mask) -> None:
    assert_same(mask)


def test_every_mask_of_three_by_four() -> None:
    for number in range(1 << 12):
        assert_same((number >> np.arange(12) & 1).astype(bool).reshape(3, 4))


def large() -> Mask:
    disc = cv2.circle(np.zeros((7000, 7000), np.uint8), (3500, 3500), 3400, 1, cv2.FILLED)
    found: Mask = disc.view(bool)
    return found


def outlined(_: None) -> None:
    contours.outer(large())


def test_a_large_mask_takes_no_picture_of_twice_the_size() -> None:
    assert_cheap(cost_of(outlined, None))
