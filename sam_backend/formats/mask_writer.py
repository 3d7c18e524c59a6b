"""A mask in each of Label Studio's forms, without labels and ids. Pure."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.formats import contours, rle, vector
from sam_backend.formats.mask import Mask, tight_box

logger = logging.getLogger("sam_backend")

Value = dict[str, Any]  # the geometry in a result's `value`
Line = npt.NDArray[np.float64]  # (N, 2) x, y

_FINER = 2  # contours are in half pixels
# A mask has long runs of one value. This filter and strategy take a third of the time, and give a
# third of the size, of the encoder's defaults.
_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
)


def brush(mask: Mask) -> list[Value]:
    return [{"format": "rle", "rle": rle.encode(mask)}]


def bitmask(mask: Mask) -> list[Value]:
    """A PNG as a data URL, black where the mask is, transparent elsewhere."""
    return [{"imageDataURL": data_url(bitmask_png(mask))}]


def bitmask_png(mask: Mask) -> bytes:
    """A PNG, black where the mask is, transparent elsewhere."""
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[..., 3] = mask * np.uint8(255)
    return _png(pixels)


def grey_png(mask: Mask) -> bytes:
    """A PNG with 8 bits a pixel, white where the mask is, black elsewhere."""
    return _png(mask * np.uint8(255))


def data_url(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    encoded, png = cv2.imencode(".png", pixels, _PNG)
    if not encoded:
        raise MemoryError("the mask cannot be written as PNG")
    return bytes(png)


def rectangle(mask: Mask) -> list[Value]:
    """The tight box around the mask, in percent."""
    height, width = mask.shape
    left, top, right, bottom = tight_box(mask) or (0, 0, 0, 0)
    return [
        {
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height,
            "rotation": 0,
        }
    ]


def polygons(mask: Mask, tolerance: float) -> list[Value]:
    """The outlines of the mask's parts, the largest first, at most `tolerance` pixels off.

    Label Studio's polygons have no holes, so holes are filled. The log says so once.
    """
    return [{"points": line, "closed": True} for line in _in_percent(mask, tolerance)]


def vectors(mask: Mask, tolerance: float) -> list[Value]:
    """The same outlines as closed vectors of straight lines."""
    lines = _in_percent(mask, tolerance)
    return [{"vertices": vector.vertices(line), "closed": True} for line in lines]


def _in_percent(mask: Mask, tolerance: float) -> list[list[list[float]]]:
    size = np.array([mask.shape[1], mask.shape[0]])
    return [(line / size * 100).tolist() for line in outlines(mask, tolerance)]


def outlines(mask: Mask, tolerance: float) -> list[Line]:
    """The outlines (N, 2) x, y of the mask's parts in pixels, the largest first.

    Holes are filled. Each outline is at most `tolerance` pixels off.
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return []
    outer, has_holes = contours.outer(mask[top : top + height, left : left + width])
    if has_holes:
        _say_once("polygons have no holes: the holes of a mask are filled")
    found = []
    for contour in sorted(outer, key=cv2.contourArea, reverse=True):
        line = cv2.approxPolyDP(contour, tolerance * _FINER, closed=True)
        if len(line) < 3 or cv2.contourArea(line) == 0:
            line = cv2.convexHull(contour)  # the part is so thin that its outline is a line
        found.append((line.reshape(-1, 2) + 0.5) / _FINER + [left, top])
    return found


def in_form_of(tag: str, tolerance: float) -> Callable[[Mask], list[Value]]:
    """The values of a mask for a control's tag, for example `BrushLabels` or `Brush`."""
    forms: dict[str, Callable[[Mask], list[Value]]] = {
        "Brush": brush,
        "Bitmask": bitmask,
        "Polygon": lambda mask: polygons(mask, tolerance),
        "Vector": lambda mask: vectors(mask, tolerance),
        "Rectangle": rectangle,
    }
    return forms[tag.removesuffix("Labels")]


@cache
def _say_once(message: str) -> None:
    logger.warning(message)
