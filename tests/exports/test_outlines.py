"""Outlines and COCO's run lengths, against pycocotools: both give back exactly the mask."""

from __future__ import annotations

import contextlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_masks

from sam_backend.exports import coco_rle, outlines
from sam_backend.formats import mask_reader
from sam_backend.formats.mask import Mask

some_masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=16))


def nested() -> Mask:
    """A ring with an island in it that has a hole; and two pixels that touch at a corner."""
    mask = np.zeros((40, 60), bool)
    mask[2:30, 2:30] = True
    mask[5:27, 5:27] = False
    mask[10:20, 10:20] = True
    mask[12:15, 12:15] = False
    mask[35, 40] = mask[36, 41] = True
    return mask


def painted_by_pycocotools(polygons: list[outlines.Polygon], shape: tuple[int, ...]) -> Mask:
    flat = [polygon.ravel().astype(float).tolist() for polygon in polygons]
    runs = coco_masks.frPyObjects(flat, *shape)
    painted: Mask = coco_masks.decode(coco_masks.merge(runs)) > 0
    return painted


@given(some_masks)
def test_pycocotools_paints_the_mask_from_its_outlines(mask: Mask) -> None:
    polygons = outlines.parts(mask)
    if polygons:
        assert np.array_equal(painted_by_pycocotools(polygons, mask.shape), mask)
        assert np.array_equal(painted_by_pycocotools([outlines.joined(polygons)], mask.shape), mask)
    else:
        assert not mask.any()


@given(some_masks)
def test_the_non_zero_rule_paints_it_as_well(mask: Mask) -> None:
    polygons = outlines.parts(mask)
    if polygons:
        one = outlines.joined(polygons).astype(np.float64)
        assert np.array_equal(mask_reader.polygon(one, *mask.shape), mask)


@given(some_masks)
def test_pixels_that_touch_are_one_part(mask: Mask) -> None:
    count, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert len(outlines.parts(mask)) == count - 1


def test_an_island_in_a_hole_is_a_part_of_its_own() -> None:
    assert len(outlines.parts(nested())) == 3
    assert np.array_equal(painted_by_pycocotools(outlines.parts(nested()), (40, 60)), nested())


def test_a_mesh_of_a_thousand_holes_is_one_outline() -> None:
    mesh = np.ones((100, 100), bool)
    mesh[1::3, 1::3] = False
    assert np.array_equal(painted_by_pycocotools(outlines.parts(mesh), mesh.shape), mesh)
    assert len(outlines.parts(mesh)) == 1


@given(some_masks)
def test_run_lengths_are_those_of_pycocotools_to_the_byte(mask: Mask) -> None:
    theirs: Any = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = coco_rle.encode(mask)
    assert ours == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    assert np.array_equal(coco_rle.decode(ours), mask)


@pytest.mark.parametrize("side", [700, 6000])
def test_long_runs_take_several_characters(side: int) -> None:
    mask = np.zeros((side, side), bool)
    mask[-1, -1] = True
    theirs: Any = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert coco_rle.encode(mask)["counts"] == theirs["counts"].decode()
    assert np.array_equal(coco_rle.decode(coco_rle.encode(mask)), mask)


def test_run_lengths_in_a_list_are_read_too() -> None:
    mask = coco_rle.decode({"size": [3, 2], "counts": [1, 2, 3]})
    assert mask.tolist() == [[False, False], [True, False], [True, False]]


@given(some_masks, st.data())
def test_damaged_run_lengths_are_refused_or_of_the_right_size(
    mask: Mask, data: st.DataObject
) -> None:
    text = list(coco_rle.encode(mask)["counts"])
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.characters())
    cut = "".join(text[: data.draw(st.integers(0, len(text)))])
    with contextlib.suppress(ValueError):  # and no other error
        found = coco_rle.decode({"size": list(mask.shape), "counts": cut})
        assert found.shape == mask.shape


@pytest.mark.parametrize(
    "runs",
    [
        {},
        {"size": [2, 2]},
        {"size": 2, "counts": [4]},
        {"size": [2, 2], "counts": [5]},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": [2, 2], "counts": [[4]]},
        {"size": [2, 2], "counts": None},
        {"size": [2, 2], "counts": ["a"]},
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": [0, 5], "counts": []},
    ],
)
def test_invalid_run_lengths_are_refused(runs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"run lengths|picture"):
        coco_rle.decode(runs)


def test_a_polygon_holds_the_pixels_whose_middles_it_holds() -> None:
    triangle = np.array([(0, 0), (4, 0), (0, 4)], np.float64)
    assert mask_reader.polygon(triangle, 4, 4).sum() == 6
    moved = np.array([(0.6, 0), (4, 0), (4, 4), (0.6, 4)], np.float64)
    assert mask_reader.polygon(moved, 4, 4).tolist() == [[False, True, True, True]] * 4


def test_a_polygon_may_go_beyond_the_picture() -> None:
    around = np.array([(-1e300, -5), (9, -5), (9, 1e9), (-9, 1e9)], np.float64)
    assert mask_reader.polygon(around, 3, 5).all()
