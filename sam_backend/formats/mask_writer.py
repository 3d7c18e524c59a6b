"""A mask in each of Label Studio's forms, without labels and ids. Pure."""

from __future__ import annotations

import base64
import logging
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.formats import contours, rle, vector
from sam_backend.formats.mask import Mask, tight_box
from sam_backend.formats.mask_reader import MOST_PIXELS_A_BYTE

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
    """A PNG, black where the mask is, transparent elsewhere.

    It has a palette of these two and one bit a pixel. With four bytes a pixel it would take twenty
    times as long. Such a file may be so small for its pixels that `mask_reader` refuses it, because
    reading it costs by its pixels. So zeros are added, which other programs skip.
    """
    height, width = mask.shape
    rows = np.zeros((height, 1 + -(-width // 8)), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = np.packbits(mask, axis=1)
    bits, palette = 1, 3
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, palette, 0, 0, 0)),
        (b"PLTE", bytes(2 * 3)),
        (b"tRNS", b"\x00\xff"),
        (b"IDAT", zlib.compress(rows.tobytes(), 1)),
        (b"paDd", bytes(height * width // MOST_PIXELS_A_BYTE)),  # a private chunk that may be lost
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def grey_png(mask: Mask) -> bytes:
    """A PNG with 8 bits a pixel, white where the mask is, black elsewhere."""
    encoded, png = cv2.imencode(".png", mask * np.uint8(255), _PNG)
    if not encoded:
        raise MemoryError("the mask cannot be written as PNG")
    return bytes(png)


def data_url(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


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
