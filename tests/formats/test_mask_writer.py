"""A mask in each form that a label config may ask for."""

from __future__ import annotations

import base64
import io
import logging

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from sam_backend.formats import mask_reader, mask_writer
from sam_backend.formats.mask import Mask

some_masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=30)).filter(np.any)


def blob(*, hole: bool = False, second: bool = False) -> Mask:
    rows, columns = np.mgrid[:300, :400]
    mask = np.hypot(rows - 150, (columns - 160) / 1.3) < 90
    if hole:
        mask &= np.hypot(rows - 150, columns - 160) > 30
    if second:
        mask |= np.hypot(rows - 60, columns - 350) < 20
    found: Mask = mask
    return found


def painted(polygons: list[mask_writer.Value], height: int, width: int) -> Mask:
    """The polygons filled, in a picture 8 times as fine, then as pixels by their middles."""
    fine = np.zeros((height * 8, width * 8), np.uint8)
    for polygon in polygons:
        points = np.array(polygon["points"]) / 100 * [width * 8, height * 8]
        cv2.fillPoly(fine, [np.round(points).astype(np.int32)], 1)
    middles: Mask = fine[4::8, 4::8] > 0
    return middles


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_bitmask_is_black_on_transparent() -> None:
    mask = blob(hole=True)
    (value,) = mask_writer.bitmask(mask)
    content = base64.b64decode(value["imageDataURL"].removeprefix("data:image/png;base64,"))
    assert len(content) < 2000  # a bit a pixel, packed
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    assert pixels.shape == (300, 400, 4)
    assert np.array_equal(pixels[..., 3] == 255, mask)
    assert pixels[..., :3].max() == 0


def test_a_rectangle_is_tight() -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:30, 20:80] = True
    assert mask_writer.rectangle(mask) == [
        {"x": 10, "y": 10, "width": 30, "height": 20, "rotation": 0}
    ]


@pytest.mark.parametrize(("tolerance", "least"), [(0.0, 0.99), (1.0, 0.985), (3.0, 0.95)])
def test_a_polygon_is_as_true_as_its_tolerance(tolerance: float, least: float) -> None:
    assert iou(painted(mask_writer.polygons(blob(), tolerance), 300, 400), blob()) > least


def test_a_tolerance_saves_points() -> None:
    exact, simple = (len(mask_writer.polygons(blob(), t)[0]["points"]) for t in (0.0, 1.0))
    assert simple < exact / 5


def test_parts_are_polygons_of_their_own_the_largest_first() -> None:
    large, small = mask_writer.polygons(blob(second=True), 1.0)
    assert len(large["points"]) > len(small["points"]) >= 3
    assert min(x for x, _ in small["points"]) > 80


def test_a_hole_is_filled_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    mask_writer._say_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="sam_backend"):
        for _ in range(3):
            (outline,) = mask_writer.polygons(blob(hole=True), 1.0)
    assert [record.getMessage() for record in caplog.records] == [
        "polygons have no holes: the holes of a mask are filled"
    ]
    assert iou(painted([outline], 300, 400), blob()) > 0.98


@given(some_masks)
def test_no_polygon_is_degenerate_and_none_leaves_the_image(mask: Mask) -> None:
    for polygon in mask_writer.polygons(mask, 2.0):
        points = np.array(polygon["points"])
        assert len(points) >= 3
        assert points.min() >= 0
        assert points.max() <= 100
        assert cv2.contourArea(points.astype(np.float32)) > 0
        assert polygon["closed"] is True


@given(some_masks)
def test_every_part_has_its_polygon(mask: Mask) -> None:
    parts = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
    assert len(mask_writer.polygons(mask, 0.5)) == parts


@pytest.mark.parametrize("tag", ["BrushLabels", "Brush", "BitmaskLabels", "Polygon", "Rectangle"])
def test_each_output_tag_has_its_form(tag: str) -> None:
    assert mask_writer.in_form_of(tag, 1.0)(blob())


@pytest.mark.parametrize("side", [1, 7, 8, 300, 4000])
def test_a_bitmask_is_read_again_also_if_it_packs_well(side: int) -> None:
    mask = np.zeros((side, side + 1), bool)
    mask[side // 2, side // 3 :] = True
    (value,) = mask_writer.bitmask(mask)
    assert np.array_equal(mask_reader.read(value, *mask.shape), mask)
