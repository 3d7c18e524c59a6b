"""What the masks of a task cost when it is opened, and when it is clicked."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_backend.clicks import existing_masks
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.prompts import Target
from sam_backend.formats import bodies, mask_reader, rle
from tests.costs import assert_cheap, assert_linear, cost_of

SIDE = 14_000  # of the largest square image that is accepted
Result = dict[str, Any]


def result(number: int, value: dict[str, Any], kind: str, side: int = SIDE) -> Result:
    return {
        "id": f"r{number}",
        "type": kind,
        "to_name": "image",
        "original_width": side,
        "original_height": side,
        "value": {**value, kind: ["Car"]},
    }


def zigzag(count: int) -> list[list[int]]:
    """Points of a polygon whose edges cross every row."""
    return [[n % 2 * 99, n % 3 * 50] for n in range(count)]


def polygon(number: int, points: list[list[int]], side: int = SIDE) -> Result:
    return result(number, {"points": points}, "polygonlabels", side)


def brush(number: int, side: int = 250) -> Result:
    """A few bytes that paint all of a small image."""
    return result(number, {"rle": rle.encode(np.ones((side, side), bool))}, "brushlabels", side)


def png(side: int, mode: str = "RGBA") -> dict[str, str]:
    out = io.BytesIO()
    Image.new(mode, (side, side)).save(out, "PNG")
    return {"imageDataURL": "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()}


def task(results: list[Result]) -> dict[str, Any]:
    """As it arrives."""
    body = {"id": 1, "drafts": [{"id": 1, "updated_at": "x", "result": results}]}
    found: dict[str, Any] = bodies.parse(json.dumps(body).encode())
    return found


def opened(of: dict[str, Any]) -> None:
    Objects().read_ahead(of)


def clicked(of: dict[str, Any]) -> list[existing_masks.Packed]:
    side = of["drafts"][0]["result"][0]["original_width"]
    target = Target("image", None, ("Car",), side, side, 0.0)
    return [mask.packed for mask in existing_masks.on_target(of, target, Objects()._masks)]


@pytest.mark.parametrize(
    "results",
    [
        pytest.param(lambda: [polygon(0, zigzag(20_000))], id="one polygon of many points"),
        pytest.param(lambda: [polygon(0, zigzag(4))], id="a small polygon on a large image"),
        pytest.param(lambda: [brush(0, 13_000)], id="a large brush mask"),
        pytest.param(lambda: [polygon(n, zigzag(4)) for n in range(4_000)], id="many polygons"),
        pytest.param(
            lambda: [polygon(n, zigzag(4), 100 + n) for n in range(4_000)], id="of as many images"
        ),
        pytest.param(lambda: [brush(n) for n in range(3_000)], id="many brush masks"),
        pytest.param(lambda: [{"id": n} for n in range(60_000)], id="results of nothing"),
        pytest.param(
            lambda: [result(n, png(3000), "bitmasklabels", 3000) for n in range(8)], id="bitmasks"
        ),
        pytest.param(
            lambda: [result(n, png(3000, "1"), "bitmasklabels", 3000) for n in range(500)],
            id="bitmasks of a bit a pixel",
        ),
    ],
)
def test_a_task_opened_and_clicked_is_cheap(results: Callable[[], list[Result]]) -> None:
    of = task(results())
    assert len(json.dumps(of)) < 1_100_000
    assert_cheap(cost_of(opened, of))
    if "type" in of["drafts"][0]["result"][0]:
        assert_cheap(cost_of(clicked, of))


def test_a_large_bitmask_is_read_when_it_is_clicked() -> None:
    """By then it is known that the image is as large."""
    assert_cheap(cost_of(opened, task([result(0, png(SIDE), "bitmasklabels")])))


def test_twice_as_many_masks_take_twice_as_long_to_open() -> None:
    """Each on an image of its own, if they are to be believed."""
    assert_linear(
        opened, lambda size: task([polygon(n, zigzag(4), 99 + n) for n in range(3000 * size)])
    )


def union(values: list[dict[str, Any]]) -> Any:
    return mask_reader.union(values, 5000, 5000)


@pytest.mark.parametrize(
    "value",
    [
        {"rle": rle.encode(np.ones((5000, 5000), bool))},
        {"points": [[0, 0], [100, 0], [100, 100], [0, 100]]},
        {"points": zigzag(2000)},
    ],
    ids=["brush", "polygon", "zigzag"],
)
def test_the_parts_of_a_mask_cannot_all_cover_the_image(value: dict[str, Any]) -> None:
    assert_cheap(cost_of(union, [value] * 1000))
    with pytest.raises(ValueError, match="overlap too often"):
        union([value] * 1000)


def test_a_polygon_of_more_edges_than_any_outline() -> None:
    with pytest.raises(ValueError, match="up and down too often"):
        mask_reader.polygon(np.array(zigzag(20_000)) * 60.0, 6000, 6000)
    assert_cheap(cost_of(union, [{"points": zigzag(100_000)}]))
