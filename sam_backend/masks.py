"""A region's value, as Label Studio saves it, to its mask. Pure; ValueError where it is none."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from sam_backend import rle
from sam_backend.mask import Mask
from sam_backend.pictures import MOST_PIXELS

Points = npt.NDArray[np.float64]  # (N, 2) x, y in pixels, (0, 0) the picture's top left corner


def read(value: Mapping[str, Any], height: int, width: int) -> Mask:
    """The mask (height, width) of a brush, bitmask or polygon."""
    if not 0 < height * width <= MOST_PIXELS:
        raise ValueError(f"a picture of {width}x{height} pixels is none")
    if "rle" in value:
        return rle.decode(value["rle"], height, width)
    if "imageDataURL" in value:
        return _bitmask(str(value["imageDataURL"]), height, width)
    if "points" in value:
        return polygon(places(value["points"]) / 100 * [width, height], height, width)
    raise ValueError("it has neither a brush mask, a bitmask nor points")


def places(points: object) -> Points:
    """A polygon's points from a list of pairs, or of numbers in turn."""
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
    """The pixels whose middles lie inside a polygon, as browsers fill it: the non-zero rule."""
    # Rows by their middles: an edge crosses those from `first` to before `last`.
    x, y = points[:, 0], points[:, 1]
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    rows = np.clip(np.ceil(np.stack([y, y_next]) - 0.5), 0, height).astype(np.intp)
    first, last = rows.min(axis=0), rows.max(axis=0)
    counts = last - first
    edge = np.repeat(np.arange(len(x)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    down = np.where(y_next > y, 1, -1)[edge]
    slope = (x_next - x)[edge] / (y_next - y)[edge]
    crossing = x[edge] + (row + 0.5 - y[edge]) * slope
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.intp)
    inside = np.zeros((height, width), bool)
    if len(edge):
        # How often the outline winds around each pixel: what lies left of it, added up.
        top, bottom, left, right = row.min(), row.max() + 1, column.min(), column.max()
        turns = np.zeros((bottom - top, right - left + 1), np.int32)
        np.add.at(turns, (row - top, column - left), down)
        inside[top:bottom, left:right] = np.cumsum(turns, axis=1, out=turns)[:, :-1] != 0
    return inside


def _bitmask(url: str, height: int, width: int) -> Mask:
    try:
        content = base64.b64decode(url.partition(",")[2], validate=True)
        with Image.open(io.BytesIO(content)) as image:
            if image.size != (width, height):
                raise ValueError(f"the bitmask is not one of {width}x{height} pixels")
            alpha: Mask = np.asarray(image.convert("RGBA"))[..., 3] > 0
    except (binascii.Error, UnidentifiedImageError, OSError, SyntaxError):
        raise ValueError("the bitmask is not a picture") from None
    return alpha
