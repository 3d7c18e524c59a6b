"""From a region's value, as Label Studio saves it, to its mask. Pure. ValueError if it has none."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam_backend.errors import Refusal
from sam_backend.formats import pictures, rle, vector
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import MOST_PIXELS

Points = npt.NDArray[np.float64]  # (N, 2) x, y in pixels, (0, 0) the picture's top left corner
Middles = npt.NDArray[np.floating]  # of rows or columns, in pixels
Indices = npt.NDArray[np.intp]

# The limit of rows that a polygon's edges cross. The outline of a mask crosses some ten thousand.
MOST_CROSSINGS = 1 << 23
# The limit of reads of the whole picture for the parts of one mask, which lie side by side.
MOST_LAYERS = 10
_PIXELS_A_CROSSING = 16  # reading one crossing takes as long as this many pixels
# Browsers save 8 bits for each of four channels. This cannot hold more than 258 pixels a byte.
MOST_PIXELS_A_BYTE = 300
# Pixels or crossings in one step.
_AT_ONCE = 1 << 20

_UNREADABLE = (ValueError, TypeError, KeyError)


def read(value: Mapping[str, Any], height: int, width: int) -> Mask:
    """The mask (height, width) of a brush, bitmask, polygon or vector."""
    _check_size(height, width)
    if "rle" in value:
        return rle.decode(value["rle"], height, width)
    if has_outline(value):
        return polygon(_in_pixels(value, height, width), height, width)
    return _bitmask(value, height, width)


def sample(
    value: Mapping[str, Any], height: int, width: int, rows: Indices, columns: Indices
) -> Mask:
    """The mask at some rows and columns, in ascending order. It takes a fraction of the work."""
    _check_size(height, width)
    if "rle" in value:
        return rle.sample(value["rle"], height, width, rows, columns)
    if has_outline(value):
        return _inside(_in_pixels(value, height, width), rows + 0.5, columns + 0.5)
    return _bitmask(value, height, width)[rows[:, None], columns]


def empty_rows(value: Mapping[str, Any], height: int, width: int) -> int:
    """The number of rows at the top that are known to be empty after a quick look."""
    with contextlib.suppress(*_UNREADABLE):
        if "rle" in value:
            _check_size(height, width)
            return rle.empty_rows(value["rle"], height, width)
    return 0


def union(values: Sequence[Mapping[str, Any]], height: int, width: int) -> Mask:
    """The mask of all parts together. Parts that cannot be read are left out.

    ValueError if the parts overlap so often that no person drew them.
    """
    mask = np.zeros((height, width), bool)
    left = MOST_LAYERS * height * width
    for value in values:
        with contextlib.suppress(*_UNREADABLE):
            left -= _work(value, height, width)
            if left >= 0:
                mask |= read(value, height, width)
    if left < 0:
        raise ValueError("its parts overlap too often")
    return mask


def has_outline(value: Mapping[str, Any]) -> bool:
    """Whether a value is a polygon or a vector."""
    return "points" in value or "vertices" in value


def polygon_points(points: object) -> Points:
    """A polygon's points from a list of pairs, or from a flat list of numbers."""
    try:
        found = np.array(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a polygon's points are not pairs of numbers") from None
    if len(found) < 3:
        raise ValueError("a polygon has fewer than three points")
    if not np.isfinite(found).all():
        raise ValueError("a polygon's points are not all numbers")
    return found


def polygon(points: Points, height: int, width: int) -> Mask:
    """The pixels with their centre inside a polygon, by the non-zero rule of browsers."""
    return _inside(points, np.arange(height) + 0.5, np.arange(width) + 0.5)


@np.errstate(divide="ignore", over="ignore", invalid="ignore")  # horizontal edges
def _inside(points: Points, middle_y: Middles, middle_x: Middles) -> Mask:
    """The points of a grid that lie inside a polygon: rows at `middle_y`, columns at `middle_x`."""
    x, y = points[:, 0], points[:, 1]
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    # An edge crosses the rows from `first` up to, but not including, `last`.
    first, last = np.sort(np.searchsorted(middle_y, np.stack([y, y_next])), axis=0)
    if (last - first).sum() > MOST_CROSSINGS:
        raise ValueError("the polygon goes up and down too often")
    slope = (x_next - x) / (y_next - y)
    down = np.where(y_next > y, 1, -1)
    left, right = np.searchsorted(middle_x, [x.min(), x.max()])
    inside = np.zeros((len(middle_y), len(middle_x)), bool)
    step = max(1, _AT_ONCE // max(len(points), right - left + 1))
    for top in range(first.min(), last.max(), step):
        bottom = min(top + step, last.max())
        begin, end = np.clip(first, top, bottom), np.clip(last, top, bottom)
        counts = end - begin
        edge = np.repeat(np.arange(len(x)), counts)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - end, counts)
        crossing = x[edge] + (middle_y[row] - y[edge]) * slope[edge]
        column = np.clip(np.searchsorted(middle_x, crossing), left, right)
        # How often the outline winds around each pixel: the sum of the crossings to its left.
        turns = np.zeros((bottom - top, right - left + 1), np.int32)
        np.add.at(turns, (row - top, column - left), down[edge])
        inside[top:bottom, left:right] = np.cumsum(turns, axis=1, out=turns)[:, :-1] != 0
    return inside


def _check_size(height: int, width: int) -> None:
    if not 0 < height * width <= MOST_PIXELS:
        raise ValueError(f"{width}x{height} is not a valid picture size")


def _in_pixels(value: Mapping[str, Any], height: int, width: int) -> Points:
    points = value["points"] if "points" in value else vector.points(value)
    return polygon_points(points) / 100 * [width, height]


def _work(value: Mapping[str, Any], height: int, width: int) -> int:
    """The cost of reading a value, as a number of pixels."""
    if "rle" in value or not has_outline(value):
        return height * width
    corners = np.clip(_in_pixels(value, height, width), 0, [width, height])
    crossings = np.abs(np.diff(corners[:, 1], append=corners[:1, 1])).sum()
    return int(np.prod(np.ptp(corners, axis=0)) + _PIXELS_A_CROSSING * crossings)


def _bitmask(value: Mapping[str, Any], height: int, width: int) -> Mask:
    if "imageDataURL" not in value:
        raise ValueError("it has neither a brush mask, a bitmask nor an outline")
    try:
        content = base64.b64decode(str(value["imageDataURL"]).partition(",")[2], validate=True)
        with pictures.opened(content, formats=("PNG",)) as image:
            fits = image.size == (width, height)
            plausible = height * width <= MOST_PIXELS_A_BYTE * len(content)
            alpha = _alpha(image) if fits and plausible else None
    except (binascii.Error, Refusal):
        raise ValueError("the bitmask is not a picture") from None
    if alpha is None:
        raise ValueError(f"the bitmask does not have {width}x{height} pixels")
    return alpha


def _alpha(image: Image.Image) -> Mask:
    shares = image.info.get("transparency")
    if image.mode == "P" and isinstance(shares, bytes):  # by the colours of its palette
        is_there = np.ones(256, bool)
        is_there[: len(shares)] = np.frombuffer(shares[:256], np.uint8) > 0
        found: Mask = is_there[np.asarray(image)]
        return found
    has_alpha = "A" in image.getbands()
    return np.asarray((image if has_alpha else image.convert("RGBA")).getchannel("A")) > 0
