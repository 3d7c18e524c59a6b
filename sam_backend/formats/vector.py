"""An outline as the vertices of Label Studio's vectors: closed, of straight lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Vertex = Mapping[str, Any]


def vertices(points: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """A ring of vertices at points (x, y) in percent, as the editor closes one.

    Each vertex names the vertex before it, and the first one names the last.
    """
    return [
        {
            "id": f"v{number}",
            "x": x,
            "y": y,
            "prevPointId": f"v{(number or len(points)) - 1}",
            "isBezier": False,
        }
        for number, (x, y) in enumerate(points)
    ]


def points(value: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """The points (x, y) in percent of a vector's vertices along its outline.

    The vertices are listed as they were drawn: one that was inserted later is the last in the list.
    ValueError for lines that enclose nothing, and for curves.
    """
    if value.get("closed") is not True:
        raise ValueError("an open vector encloses no pixels")
    listed = value.get("vertices")
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        raise ValueError("a vector's vertices are not a list of objects")
    if any(each.get("isBezier") for each in listed):
        raise ValueError("a vector with curves cannot be read: use straight lines")
    return [(each.get("x"), each.get("y")) for each in _in_order(listed)]


def _in_order(listed: Sequence[Vertex]) -> list[Vertex]:
    """The vertices from the first one on, each after the one that it names."""
    followers: dict[str | None, Vertex] = {}
    for vertex in listed:
        before = vertex.get("prevPointId")
        followers.setdefault(None if before is None else str(before), vertex)
    found: list[Vertex] = []
    following: Vertex | None = followers.get(None) or next(iter(listed), None)
    while following is not None and following not in found[:1]:  # a ring ends where it began
        found.append(following)
        following = followers.pop(str(following.get("id")), None)
    if len(found) < len(listed):
        raise ValueError("a vector's vertices are not in one line")
    return found
