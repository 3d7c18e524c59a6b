"""A mask's outlines along the edges of its pixels: polygons that reproduce the mask exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam_backend.formats.mask import Mask, tight_box

Ints = npt.NDArray[np.int64]
Polygon = Ints  # (N, 2) x, y of pixels' corners, clockwise as visited; the first is not repeated

Place = tuple[int, int]
Line = list["Place | Line"]  # an outline, with the outlines of the holes that are reached from it


def parts(mask: Mask) -> list[Polygon]:
    """A polygon for each part of a mask, in reading order. Pixels that touch belong to one part.

    A cut of zero width leads from a part's outline to its hole and back. Polygons in COCO and YOLO
    cannot express a hole in another way.
    """
    box = tight_box(mask)
    if box is None:
        return []
    left, top, right, bottom = box
    lines = _lines(mask[top:bottom, left:right])
    return [np.array(list(_flat(line)), np.int64) + np.array([left, top]) for line in lines]


def joined(polygons: list[Polygon]) -> Polygon:
    """Joins several polygons to one, by cuts of zero width from each one to the next."""
    out = np.concatenate([np.concatenate([polygon, polygon[:1]]) for polygon in polygons])
    back = [polygon[:1] for polygon in polygons[-2::-1]]
    return np.concatenate([out, *back])[:-1]  # back to its start


@dataclass(frozen=True)
class _Corners:
    """The corners of outlines, in reading order. Two pixels that touch at a point give two."""

    x: Ints
    y: Ints
    in_mask: npt.NDArray[np.bool_]  # the pixel to the lower right
    beside: Ints  # the other end of a corner's horizontal edge
    above: Ints  # the other end of its vertical edge
    by_column: Ints  # the corners by x, then y

    @classmethod
    def of(cls, mask: Mask) -> _Corners:
        padded = np.pad(mask, 1)
        upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
        lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
        touch = (upper_left == lower_right) & (upper_right == lower_left)
        touch &= upper_left != upper_right
        y, x = np.nonzero((upper_left ^ upper_right ^ lower_left ^ lower_right) | touch)
        times = 1 + touch[y, x]
        y, x = np.repeat(y, times), np.repeat(x, times)
        second = np.zeros(len(x), bool)
        second[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
        # Of two corners at one point, the first has the left edge and the second the right one.
        # The upper edge goes to the one that joins the two pixels, not the background around them.
        falling = touch[y, x] & upper_left[y, x]
        by_column = np.lexsort((second ^ falling, y, x))
        beside, above = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
        order = np.arange(len(x))
        beside[0::2], beside[1::2] = order[1::2], order[0::2]
        above[by_column[0::2]], above[by_column[1::2]] = by_column[1::2], by_column[0::2]
        return cls(x, y, lower_right[y, x], beside, above, by_column)

    def loops(self) -> list[list[int]]:
        """The corners of each outline, with the mask on the right, ordered by first corner.

        The outline of a part starts with the upper edge of its first pixel, and that of a hole with
        the left edge.
        """
        beside, above = self.beside.tolist(), self.above.tolist()
        visited = bytearray(len(beside))
        found = []
        for start in range(len(beside)):
            if not visited[start]:
                ways = (beside, above) if self.in_mask[start] else (above, beside)
                loop, at = [], start
                while not visited[at]:
                    visited[at] = 1
                    loop.append(at)
                    at = ways[(len(loop) + 1) % 2][at]
                found.append(loop)
        return found


def _lines(mask: Mask) -> list[Line]:
    """The outlines of a mask's parts, each with its holes.

    To the left of a hole's first pixel, the mask continues up to some edge. This edge belongs to an
    outline that starts earlier, so the outlines can be finished from the last to the first.
    """
    corners = _Corners.of(mask)
    xs, ys, above = corners.x.tolist(), corners.y.tolist(), corners.above.tolist()
    height = mask.shape[0] + 1
    columns = corners.x[corners.by_column] * height + corners.y[corners.by_column]
    reached: dict[int, list[tuple[int, Line]]] = {}  # by the upper corner of the edge
    lines = []
    for loop in reversed(corners.loops()):
        line: Line = []
        for here, there in zip(loop, [*loop[1:], loop[0]], strict=True):
            line.append((xs[here], ys[here]))
            if above[here] == there:
                upper = min(here, there)
                holes = sorted(reached.get(upper, ()), key=_row, reverse=upper == there)
                for y, hole in holes:
                    line += [(xs[here], y), hole, (xs[here], y)]
        if corners.in_mask[loop[0]]:
            lines.append(line)
            continue
        x, y = xs[loop[0]], ys[loop[0]]
        outside = np.flatnonzero(~mask[y, :x])
        edge = int(outside[-1]) + 1 if len(outside) else 0
        # The edge starts at the last corner in its column that is not below the hole's corner.
        upper = int(corners.by_column[np.searchsorted(columns, edge * height + y, "right") - 1])
        reached.setdefault(upper, []).append((y, [*line, line[0]]))
    return lines[::-1]


def _row(hole: tuple[int, Line]) -> int:
    return hole[0]


def _flat(line: Line) -> Iterator[Place]:
    """The points of an outline and of all outlines in it, without repeated points."""
    last = None
    todo = [iter(line)]
    while todo:
        item = next(todo[-1], None)
        if item is None:
            todo.pop()
        elif isinstance(item, list):
            todo.append(iter(item))
        elif item != last:
            last = item
            yield item
