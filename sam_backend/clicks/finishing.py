"""How the masks of a control are finished, as the attributes of its tag say. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from sam_backend.errors import Refusal
from sam_backend.formats.mask import Mask, tight_box

Overlap = Literal["allow", "below", "above"]
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)
HOLES = ("keep", "fill")

DETAIL, SMOOTH, MIN_AREA = "sam_detail", "sam_smooth", "sam_min_area"
FILL, OVERLAP = "sam_holes", "sam_overlap"
ATTRIBUTES = (DETAIL, SMOOTH, MIN_AREA, FILL, OVERLAP)

# At detail 0, an outline may leave the mask's edge by this share of the mask's longer side. At 100
# it stays within half a pixel, which removes the steps between pixels.
_COARSEST = 0.05
_FINEST = 0.5
# At smoothness 100, the edge is averaged over this share of the mask's size.
_SMOOTHEST = 0.1
_FINE_RADIUS = 8  # pixels: edges of masks are averaged over one to two of it
_MOST_AREA = 1_000_000_000
_LONGEST_SHOWN = 40


@dataclass(frozen=True)
class Finish:
    """What is done to each mask of a control before it takes its form."""

    detail: float | None = None  # of outlines, 0 to 100; None: the server's setting decides
    smooth: float = 0.0  # 0 to 100
    min_area: int = 0  # pixels; smaller parts are left out
    fill_holes: bool = False
    overlap: Overlap = "allow"  # what happens where another mask is

    def applied_to(self, mask: Mask) -> Mask:
        """A mask (H, W) with its holes, edge and parts as wanted. It never becomes empty."""
        is_wanted = self.fill_holes or self.smooth or self.min_area
        box = tight_box(mask) if is_wanted else None
        if box is None:
            return mask
        radius = self.smooth / 100 * _SMOOTHEST * math.sqrt(np.count_nonzero(mask))
        margin = 1 + 3 * round(radius)  # the edge moves outwards too
        left, top = max(0, box[0] - margin), max(0, box[1] - margin)
        around = np.s_[top : box[3] + margin, left : box[2] + margin]
        part = mask[around]
        if self.fill_holes:
            part = _without_holes(part)
        if round(radius):
            part = _smooth(part, round(radius))
        if self.min_area:
            part = _without_small_parts(part, self.min_area)
        changed = np.zeros_like(mask)
        changed[around] = part
        return changed

    def tolerance(self, mask: Mask, default: float) -> float:
        """How many pixels an outline may leave the edge of a mask."""
        if self.detail is None:
            return default
        box = tight_box(mask)
        if box is None:
            return default
        longer = max(box[2] - box[0], box[3] - box[1])
        return max(_FINEST, _COARSEST * longer * (1 - self.detail / 100) ** 2)


def read(tag: str, name: str, attributes: Mapping[str, str]) -> Finish:
    """The finish of a control. Refusal if an attribute has a value that it cannot have."""

    def number(attribute: str, most: float) -> float | None:
        text = attributes.get(attribute, "").strip()
        if not text:
            return None
        try:
            value = float(text) if len(text) <= _LONGEST_SHOWN else math.nan
        except ValueError:
            value = math.nan
        if not 0 <= value <= most:
            raise _refusal(tag, name, attribute, text, f"a number from 0 to {most:,.0f}")
        return value

    def choice(attribute: str, known: tuple[str, ...]) -> str:
        text = attributes.get(attribute, "").strip() or known[0]
        if text not in known:
            raise _refusal(tag, name, attribute, text, ", ".join(known[:-1]) + f" or {known[-1]}")
        return text

    overlap = choice(OVERLAP, OVERLAPS)
    return Finish(
        detail=number(DETAIL, 100),
        smooth=number(SMOOTH, 100) or 0.0,
        min_area=int(number(MIN_AREA, _MOST_AREA) or 0),
        fill_holes=choice(FILL, HOLES) == "fill",
        overlap=next(each for each in OVERLAPS if each == overlap),
    )


def _refusal(tag: str, name: str, attribute: str, text: str, wanted: str) -> Refusal:
    return Refusal(
        "config",
        f"{attribute}={_quoted(text)} of <{tag} name={_quoted(name)}> in the label config is not "
        f"{wanted}",
    )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…")


def _without_holes(mask: Mask) -> Mask:
    """The mask and all that it encloses."""
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(outside, connectivity=4)
    filled: Mask = labels[1:-1, 1:-1] != labels[0, 0]
    return filled


def _smooth(mask: Mask, radius: int) -> Mask:
    """The mask with its edge averaged. Three boxes are nearly a Gaussian, and quick at any size.

    A wide radius leaves nothing fine, so a smaller mask is averaged and scaled up: for a mask of
    megapixels this takes a fifth of the time.
    """
    height, width = mask.shape
    scale = max(1, radius // _FINE_RADIUS)
    blurred = mask.astype(np.uint16) * np.uint16(65535)
    if scale > 1:
        size = -(-width // scale), -(-height // scale)
        blurred = np.asarray(cv2.resize(blurred, size, interpolation=cv2.INTER_AREA), np.uint16)
    side = 2 * round(radius / scale) + 1
    for _ in range(3):
        cv2.blur(blurred, (side, side), blurred, borderType=cv2.BORDER_REPLICATE)
    if scale > 1:
        blurred = np.asarray(cv2.resize(blurred, (width, height)), np.uint16)
    smooth: Mask = blurred > 32767
    return smooth if smooth.any() else mask


def _without_small_parts(mask: Mask, min_area: int) -> Mask:
    """The mask without the parts below an area. Its largest part stays."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # all that is not in the mask
    kept: Mask = (areas >= min(min_area, areas.max())) & (areas > 0)
    found: Mask = kept[labels]
    return found
