"""Masks that give way to masks that were there before, or the other way round. Pure.

Label Studio sends the masks of the newest draft, and saves a draft five seconds after a change. A
mask that was accepted a moment ago, or waits to be accepted, is not known yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sam_backend.clicks import existing_masks
from sam_backend.clicks.existing_masks import ExistingMask
from sam_backend.clicks.finishing import Overlap
from sam_backend.errors import Refusal
from sam_backend.formats import mask_reader, mask_writer, results
from sam_backend.formats.mask import Mask, tight_box
from sam_backend.formats.results import Result

# For one mask, existing masks are read that have this number of times the picture's pixels.
MOST_LAYERS = 40
# The form of a mask by its key in a value. An outline has several regions, which cannot be cut.
_FORMS = {"rle": mask_writer.brush, "imageDataURL": mask_writer.bitmask}
_UNREADABLE = (ValueError, TypeError, OSError, KeyError)


def applied(
    wish: Overlap, mask: Mask, others: Sequence[ExistingMask], task: Mapping[str, Any]
) -> tuple[Mask, list[dict[str, Any]]]:
    """A new mask (H, W) and the results of others, after the new one or the others gave way.

    `wish` is "below" or "above".
    """
    if wish == "below":
        return below(mask, others), []
    return mask, cut_by(mask, others, existing_masks.in_annotation(task))


def below(mask: Mask, others: Sequence[ExistingMask]) -> Mask:
    """A mask (H, W) without the pixels of others. Refusal if they hold all of it."""
    free: Mask = mask.copy()
    for other, around in zip(others, _around(mask, others), strict=True):
        for part in other.parts:
            with contextlib.suppress(*_UNREADABLE):
                free[around] &= ~_read(part, mask.shape, around)
    if not free.any():
        raise Refusal(
            "prompt",
            'other masks hold all of this object, and sam_overlap="below" keeps them: delete or '
            "cut the mask that is there first",
        )
    return free


def cut_by(
    mask: Mask, others: Sequence[ExistingMask], there: Sequence[Result]
) -> list[dict[str, Any]]:
    """The results of the other masks that lose pixels to a new mask (H, W).

    Brushes and bitmasks can lose pixels. A mask that would lose all of them stays as it is.
    """
    found = []
    for other, around in zip(others, _around(mask, others), strict=True):
        key = next((k for k in _FORMS if k in results.value(other.parts[0])), None)
        if key is None or len(other.parts) != 1:
            continue
        with contextlib.suppress(*_UNREADABLE):
            if not (_read(other.parts[0], mask.shape, around) & mask[around]).any():
                continue
            left = mask_reader.read(results.value(other.parts[0]), *mask.shape) & ~mask
            if left.any():
                [geometry] = _FORMS[key](left)
                found += [_with(result, geometry) for result in there if _is_of(result, other, key)]
    return found


def _is_of(result: Result, other: ExistingMask, key: str) -> bool:
    return results.name(result.get("id")) == other.id and key in results.value(result)


def _with(result: Result, geometry: Mapping[str, Any]) -> dict[str, Any]:
    return {**result, "value": {**results.value(result), **geometry}}


def _around(mask: Mask, others: Sequence[ExistingMask]) -> list[tuple[slice, slice]]:
    """The part of the picture that each mask is compared in. Refusal if it is too much work."""
    left, top, right, bottom = tight_box(mask) or (0, 0, 0, 0)
    pixels = sum(
        mask.size if "imageDataURL" in results.value(part) else (right - left) * (bottom - top)
        for other in others
        for part in other.parts
    )
    if pixels > MOST_LAYERS * mask.size:
        raise Refusal(
            "limit",
            "sam_overlap cannot compare this mask with the others, because too many lie in its "
            "place: delete masks that cover each other",
        )
    return [np.s_[top:bottom, left:right]] * len(others)


def _read(part: Result, shape: tuple[int, ...], around: tuple[slice, slice]) -> Mask:
    rows, columns = (np.arange(side.start, side.stop) for side in around)
    return mask_reader.sample(results.value(part), shape[0], shape[1], rows, columns)
