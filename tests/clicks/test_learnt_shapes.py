"""What is learnt from the masks that annotators keep."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.clicks.learnt_shapes import LEAST, MOST, Figures, Learnt, figures
from sam_backend.formats.mask import Mask


def square(side: int) -> Mask:
    mask = np.zeros((100, 200), bool)
    mask[:side, :side] = True
    return mask


def some(side: int, count: int) -> list[Figures]:
    found = figures(square(side))
    assert found is not None
    return [found] * count


def test_two_numbers_of_a_mask_are_kept() -> None:
    log_share, fill = some(20, 1)[0]
    assert log_share == pytest.approx(np.log(400 / 20_000))
    assert fill == 1


def test_an_empty_mask_has_no_shape() -> None:
    learnt = Learnt.of(some(20, 5))
    assert figures(square(0)) is None
    assert learnt is not None
    assert learnt.fit(square(0)) == 0


def test_few_masks_say_nothing() -> None:
    assert Learnt.of([]) is None
    assert Learnt.of(some(20, LEAST - 1)) is None
    assert Learnt.of(some(20, LEAST)) is not None


def test_what_looks_like_the_kept_ones_fits_best() -> None:
    learnt = Learnt.of(some(20, LEAST))
    assert learnt is not None
    assert learnt.fit(square(20)) == 1
    assert 1 > learnt.fit(square(30)) > learnt.fit(square(60))
    thin = square(20)
    thin[2:, 2:] = False
    assert learnt.fit(thin) < learnt.fit(square(9)), "it fills less of its box"


def test_more_of_the_same_makes_it_surer() -> None:
    few, many = Learnt.of(some(20, 5)), Learnt.of(some(20, 80))
    assert few is not None
    assert many is not None
    assert many.fit(square(30)) < few.fit(square(30))


def test_objects_that_differ_say_little() -> None:
    alike, mixed = Learnt.of(some(20, 10)), Learnt.of(some(20, 5) + some(90, 5))
    assert alike is not None
    assert mixed is not None
    assert mixed.fit(square(80)) > alike.fit(square(80))


def test_one_strange_mask_among_many_changes_little() -> None:
    with_a_stranger = Learnt.of([*some(20, 9), *some(100, 1)])
    assert with_a_stranger is not None
    assert with_a_stranger.fit(square(20)) > 0.99


@pytest.mark.parametrize("more", [1, 4])
def test_between_the_steps_nothing_changes(more: int) -> None:
    before, after = Learnt.of(some(20, 5)), Learnt.of(some(20, 5) + some(90, more))
    assert before is not None
    assert after is not None
    assert before.digest == after.digest


def test_after_the_last_step_nothing_changes_any_more() -> None:
    before, after = Learnt.of(some(20, MOST)), Learnt.of(some(20, MOST) + some(90, 500))
    assert before is not None
    assert after is not None
    assert before.digest == after.digest
