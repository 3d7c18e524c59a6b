"""Outlines as vertices, and vertices as Label Studio saves them back to outlines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from sam_backend.formats import mask_reader, mask_writer, vector
from sam_backend.formats.mask import Mask

SQUARE = [(10.0, 10.0), (60.0, 10.0), (60.0, 50.0), (10.0, 50.0)]

some_masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=30)).filter(np.any)


def value(vertices: Any, *, closed: Any = True) -> dict[str, Any]:
    return {"vertices": vertices, "closed": closed}


def test_the_first_vertex_follows_the_last_one() -> None:
    """As Label Studio 1.23.2 saves a vector that was closed by hand."""
    chain = vector.vertices(SQUARE)
    assert [vertex["prevPointId"] for vertex in chain] == ["v3", "v0", "v1", "v2"]
    assert len({vertex["id"] for vertex in chain}) == 4
    assert not any(vertex["isBezier"] for vertex in chain)


def test_places_come_back() -> None:
    assert vector.points(value(vector.vertices(SQUARE))) == SQUARE


def test_a_vertex_that_was_inserted_later_is_taken_where_it_lies() -> None:
    chain = vector.vertices(SQUARE)
    chain.append({"id": "new", "x": 70.0, "y": 30.0, "prevPointId": "v1", "isBezier": False})
    chain[2]["prevPointId"] = "new"
    assert vector.points(value(chain)) == [*SQUARE[:2], (70.0, 30.0), *SQUARE[2:]]


def test_a_line_without_a_ring_is_read_too() -> None:
    chain = vector.vertices(SQUARE)
    chain[0]["prevPointId"] = None
    assert vector.points(value(chain)) == SQUARE


@given(some_masks)
def test_a_vector_is_the_polygon_of_the_same_mask(mask: Mask) -> None:
    shapes = mask_writer.polygons(mask, 1.0), mask_writer.vectors(mask, 1.0)
    for polygon, ring in zip(*shapes, strict=True):
        one, other = (mask_reader.read(each, *mask.shape) for each in (polygon, ring))
        assert np.array_equal(one, other)


def branched() -> list[dict[str, Any]]:
    chain = vector.vertices(SQUARE)
    chain.append({"id": "branch", "x": 1.0, "y": 1.0, "prevPointId": "v1"})
    return chain


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (value(vector.vertices(SQUARE), closed=False), "open vector"),
        (value(vector.vertices(SQUARE), closed="yes"), "open vector"),
        (value([{**v, "isBezier": True} for v in vector.vertices(SQUARE)]), "curves"),
        (value(branched()), "not in one line"),
        (value(vector.vertices(SQUARE[:2])), "fewer than three"),
        (value([]), "fewer than three"),
        (value(None), "not a list"),
        (value([1, 2, 3]), "not a list"),
        (value([{"id": "v0"}, {"id": "v1", "prevPointId": "v0"}]), "fewer than three"),
        (value([{**v, "x": None} for v in vector.vertices(SQUARE)]), "not all numbers"),
        (value([{**v, "x": []} for v in vector.vertices(SQUARE)]), "not pairs of numbers"),
        (value([{**v, "prevPointId": []} for v in vector.vertices(SQUARE)]), "not in one line"),
    ],
)
def test_what_encloses_nothing_is_not_read(broken: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        mask_reader.read(broken, 100, 100)
