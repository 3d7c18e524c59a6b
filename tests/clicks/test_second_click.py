"""What the second click says about the object."""

from __future__ import annotations

import numpy as np

from sam_backend.clicks import second_click
from sam_backend.engines.frame import Floats
from sam_backend.formats.mask import Mask

SIDE = 64


def square(left: int, top: int, side: int) -> Mask:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + side, left : left + side] = True
    return mask


PART, WHOLE, OTHER = square(20, 20, 10), square(20, 20, 30), square(0, 0, 10)


def chances(masks: list[Mask], seen: Mask, *clicks: tuple[int, int, bool]) -> Floats:
    spots = np.array([click[:2] for click in clicks], np.intp)
    positive = np.array([click[2] for click in clicks])
    likely = np.ones(len(masks), np.float32)
    return second_click.chances(np.stack(masks), likely, seen, spots, positive)


def test_a_positive_click_beside_a_part_asks_for_the_whole() -> None:
    part, whole, other = chances([PART, WHOLE, OTHER], PART, (24, 24, True), (40, 40, True))
    assert whole > part
    assert whole > other


def test_a_negative_click_on_the_rest_asks_for_the_part() -> None:
    part, whole = chances([PART, WHOLE], WHOLE, (24, 24, True), (40, 40, False))
    assert part > whole


def test_a_click_just_beside_the_missing_region_still_counts() -> None:
    near, far = square(20, 20, 12), square(20, 20, 11) | square(45, 45, 5)
    weights = chances([near, far], PART, (24, 24, True), (33, 25, True))
    assert weights[0] > weights[1]


def test_a_larger_error_elsewhere_makes_a_mask_less_likely() -> None:
    hole = WHOLE & ~square(25, 25, 3)
    wide = hole | square(0, 0, 19)  # who meant this would have clicked there
    weights = chances([WHOLE, WHOLE & ~wide], wide, (40, 40, True), (26, 26, True))
    alone = chances([WHOLE, WHOLE & ~hole], hole, (40, 40, True), (26, 26, True))
    assert weights[0] < alone[0]


def test_empty_masks_have_a_chance_too() -> None:
    empty = np.zeros((SIDE, SIDE), bool)
    weights = chances([empty, empty], empty, (0, 0, True), (SIDE - 1, SIDE - 1, False))
    assert np.allclose(weights, 0.5)
    assert second_click.best(np.stack([empty, empty]), np.stack([empty, empty]), weights) == 0


def test_the_answer_overlaps_with_what_is_likely() -> None:
    answers, masks = np.stack([OTHER, PART, WHOLE]), np.stack([PART, WHOLE])
    assert second_click.best(answers, masks, np.array([0.1, 0.9], np.float32)) == 2
    assert second_click.best(answers, masks, np.array([0.9, 0.1], np.float32)) == 1
