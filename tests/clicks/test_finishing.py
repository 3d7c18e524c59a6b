"""What attributes of a control do to its masks: detail, smoothness, holes, and small parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sam_backend.clicks import finishing
from sam_backend.clicks.finishing import Finish
from sam_backend.errors import Refusal
from sam_backend.formats import mask_writer
from sam_backend.formats.mask import Mask

some_masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=30)).filter(np.any)
some_finishes = st.builds(
    Finish,
    smooth=st.floats(0, 100),
    min_area=st.integers(0, 1000),
    fill_holes=st.booleans(),
)


def ragged_disc() -> Mask:
    """A disc with teeth, a hole, and a speck beside it."""
    rows, columns = np.mgrid[:400, :500] - np.array([200, 220])[:, None, None]
    angle = np.arctan2(rows, columns)
    mask = np.hypot(rows, columns) < 130 + 6 * np.sign(np.sin(40 * angle))
    mask &= np.hypot(rows + 20, columns) > 25
    mask[20:24, 450:460] = True
    found: Mask = mask
    return found


def edge_length(mask: Mask) -> int:
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())


def test_without_attributes_a_mask_stays_as_it_is() -> None:
    mask = ragged_disc()
    assert finishing.read("Brush", "mask", {}) == Finish()
    assert Finish().applied_to(mask) is mask


def test_small_parts_are_left_out() -> None:
    mask = ragged_disc()
    kept = Finish(min_area=41).applied_to(mask)
    assert not kept[20:24, 450:460].any()
    assert np.array_equal(kept[:, :400], mask[:, :400])
    assert np.array_equal(Finish(min_area=40).applied_to(mask), mask)


def test_the_largest_part_stays_however_small_it_is() -> None:
    mask = np.zeros((50, 50), bool)
    mask[5:9, 5:9] = mask[20, 20] = True
    assert np.count_nonzero(Finish(min_area=10_000).applied_to(mask)) == 16


def test_holes_are_filled_and_bays_are_not() -> None:
    mask = np.zeros((40, 60), bool)
    mask[5:30, 5:30] = mask[5:30, 40:60] = True
    mask[10:15, 10:15] = False
    mask[20:25, 55:60] = False  # open at the picture's edge
    filled = Finish(fill_holes=True).applied_to(mask)
    assert filled[10:15, 10:15].all()
    assert not filled[20:25, 55:60].any()
    assert np.count_nonzero(filled) == np.count_nonzero(mask) + 25


def test_smoothing_shortens_the_edge_and_keeps_the_area() -> None:
    mask = ragged_disc()
    some, much = (Finish(smooth=amount).applied_to(mask) for amount in (30, 100))
    assert edge_length(much) < edge_length(some) < edge_length(mask)
    assert np.count_nonzero(some) == pytest.approx(np.count_nonzero(mask), rel=0.03)


def test_smoothing_leaves_what_the_picture_cuts_off_at_its_edge() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:80, :50] = True
    smooth = Finish(smooth=50).applied_to(mask)
    assert smooth[30:70, 0].all()
    assert smooth[25, 0]


@given(some_masks, some_finishes)
def test_no_finish_makes_a_mask_empty(mask: Mask, finish: Finish) -> None:
    assert finish.applied_to(mask).any()


def test_more_detail_takes_more_points_and_stays_nearer() -> None:
    mask = Finish(fill_holes=True, min_area=50).applied_to(ragged_disc())
    counts = []
    for detail in (0, 50, 80, 100):
        tolerance = Finish(detail=detail).tolerance(mask, default=1.0)
        [outline] = mask_writer.polygons(mask, tolerance)
        counts.append(len(outline["points"]))
    assert counts == sorted(counts)
    assert counts[0] < 20
    assert counts[-1] > 150


def test_detail_means_the_same_for_small_and_large_objects() -> None:
    small, large = np.zeros((1000, 1000), bool), np.zeros((1000, 1000), bool)
    small[:100, :50] = True
    large[:1000, :500] = True
    finish = Finish(detail=40)
    assert finish.tolerance(large, 1.0) == pytest.approx(10 * finish.tolerance(small, 1.0))


def test_without_a_detail_the_setting_counts() -> None:
    assert Finish().tolerance(ragged_disc(), default=1.7) == 1.7


def test_attributes_are_read() -> None:
    written = {
        "sam_detail": "70",
        "sam_smooth": " 12.5 ",
        "sam_min_area": "400",
        "sam_holes": "fill",
        "sam_overlap": "below",
    }
    assert finishing.read("Brush", "mask", written) == Finish(70, 12.5, 400, True, "below")


@pytest.mark.parametrize(
    ("attribute", "value", "wanted"),
    [
        ("sam_detail", "high", "a number from 0 to 100"),
        ("sam_detail", "101", "a number from 0 to 100"),
        ("sam_detail", "-1", "a number from 0 to 100"),
        ("sam_detail", "nan", "a number from 0 to 100"),
        ("sam_smooth", "1e400", "a number from 0 to 100"),
        ("sam_min_area", "9" * 20, "a number from 0 to 1,000,000,000"),
        ("sam_holes", "yes", "keep or fill"),
        ("sam_overlap", "under", "allow, below or above"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_tag(
    attribute: str, value: str, wanted: str
) -> None:
    with pytest.raises(Refusal) as refused:
        finishing.read("Polygon", "outline", {attribute: value})
    assert str(refused.value) == (
        f"{attribute}='{value}' of <Polygon name='outline'> in the label config is not {wanted}"
    )


def test_a_value_of_any_length_makes_a_short_line() -> None:
    with pytest.raises(Refusal) as refused:
        finishing.read("Polygon", "x" * 10_000, {"sam_detail": "9" * 1_000_000})
    assert len(str(refused.value)) < 300
