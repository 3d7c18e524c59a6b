"""The outlines of a mask's parts, along the corners of its pixels. Pure.

OpenCV's contours run through the middles of pixels. In a mask of twice the size they run through
the four quarters of each pixel, which is nearer to the edge, but takes four times the memory and
twenty times as long for a large picture. These are the same outlines, from the mask as it is.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.formats.mask import Mask

Contour = npt.NDArray[Any]  # int32 (N, 2) x, y, in half pixels

# Steps between neighbours, and a pixel's quarters, counter-clockwise from the right.
_STEPS = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
_QUARTERS = {1: (1, 0), 3: (0, 0), 5: (0, 1), 7: (1, 1)}
_NO_STEP = 8  # of a part of one pixel
_MOST_QUARTERS = 5


def outer(mask: Mask) -> tuple[list[Contour], bool]:
    """The outer contour of each part of a mask, and whether the parts have holes."""
    contours, hierarchy = cv2.findContours(
        mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    if not contours:
        return [], False
    is_outer = hierarchy[0, :, 3] < 0
    kept = [c.reshape(-1, 2) for c, keep in zip(contours, is_outer, strict=True) if keep]
    return _in_quarters(kept), not is_outer.all()


def _in_quarters(contours: list[Contour]) -> list[Contour]:
    """The same contours through the quarters of their pixels, all at once.

    At each pixel, the contour comes from one neighbour and goes to another. It passes the quarters
    between the two, on the side of the background.
    """
    pixels = np.concatenate(contours)
    lengths = np.array([len(contour) for contour in contours])
    firsts = np.cumsum(lengths) - lengths
    following = np.arange(1, len(pixels) + 1)
    following[firsts + lengths - 1] = firsts
    step = pixels[following] - pixels
    leaves = _NUMBERS[step[:, 1] + 1, step[:, 0] + 1]
    comes = np.empty_like(leaves)
    comes[following] = leaves
    counts = _COUNTS[comes, leaves]
    begins = np.cumsum(counts) - counts
    # A contour starts at the upper left quarter of its first pixel, as it does at twice the size.
    starts = begins[firsts] + _FIRST[comes[firsts], leaves[firsts]]
    pixel = np.repeat(np.arange(len(pixels)), counts)
    place = np.arange(len(pixel)) - np.repeat(begins, counts)
    points = 2 * pixels[pixel] + _PASSED[comes[pixel], leaves[pixel], place]
    ends = np.append(begins[firsts[1:]], len(points))
    return [
        np.concatenate((points[start:end], points[begin:start])).astype(np.int32)
        for begin, start, end in zip(begins[firsts], starts, ends, strict=True)
    ]


def _tables() -> tuple[npt.NDArray[np.intp], ...]:
    """By the steps to a pixel and from it: its quarters, their number, the upper left one."""
    passed = np.zeros((9, 9, _MOST_QUARTERS, 2), np.intp)
    counts, first = np.zeros((2, 9, 9), np.intp)
    for comes in range(9):
        for leaves in range(9):
            back = (comes + 4) % 8
            turn = (leaves - back) % 8 or 8  # back where it came from: all around the pixel
            directions = [(back + n) % 8 for n in range(turn + 1)]
            if _NO_STEP in (comes, leaves):
                directions = [3, 5, 7, 1]
            quarters = [_QUARTERS[direction] for direction in directions if direction % 2]
            passed[comes, leaves, : len(quarters)] = quarters
            counts[comes, leaves] = len(quarters)
            first[comes, leaves] = quarters.index((0, 0)) if (0, 0) in quarters else 0
    return passed, counts, first


_PASSED, _COUNTS, _FIRST = _tables()
_NUMBERS = np.full((3, 3), _NO_STEP)
for _number, (_x, _y) in enumerate(_STEPS):
    _NUMBERS[_y + 1, _x + 1] = _number
