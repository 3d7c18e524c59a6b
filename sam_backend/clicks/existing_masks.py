"""Masks that the annotator already has, to be finished instead of drawn again.

A click means one of them if it cuts it (a negative keypoint inside), or if it lies beside it and
the object that the model sees there contains most of it. The answer then starts from that mask and
takes its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.clicks import drafts
from sam_backend.clicks.drafts import name
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.clicks.segmenter import ObjectPrompt, Segmentation
from sam_backend.engines.protocol import LOW_RES_SIDE, MODEL_SIDE, Floats, scaled_size, upsample
from sam_backend.errors import Refusal
from sam_backend.formats import mask_reader
from sam_backend.formats.mask import Mask

Packed = npt.NDArray[np.uint8]  # a low-res mask (256, 256), eight pixels a byte
Parts = list[Mapping[str, Any]]

# Of a bitmask that is read ahead: its image is not known yet, only what a task says of it.
MOST_PIXELS_AHEAD = 32_000_000
SAME_OBJECT = 0.6  # of a mask lies in what the model sees where the click is
_CERTAIN = 8.0  # the logit of a pixel that is all in, or all out

_TYPES = ("brushlabels", "brush", "bitmasklabels", "bitmask", "polygonlabels", "polygon")
_UNREADABLE = (ValueError, TypeError, OSError, KeyError)
_PART = re.compile(r"\.\d+$")  # parts of one object are named a, a.2, a.3, …


@dataclass(frozen=True)
class Region:
    """A mask of the prompt's label in the annotation that is being worked on."""

    id: str
    packed: Packed
    parts: tuple[Mapping[str, Any], ...]  # the results that it is made of

    @property
    def low_res(self) -> Mask:
        """The mask (256, 256)."""
        return np.unpackbits(self.packed).reshape(LOW_RES_SIDE, LOW_RES_SIDE) > 0

    @property
    def logits(self) -> Floats:
        """The mask as the engine takes it (256, 256)."""
        return ((2 * self.low_res - 1) * _CERTAIN).astype(np.float32)

    def holds(self, keypoint: Prompt, target: Target) -> bool:
        row, column = _low_res_place(keypoint, target)
        byte, bit = divmod(row * LOW_RES_SIDE + column, 8)
        return bool(self.packed[byte] << bit & 0x80)

    def share_in(self, seen: Packed) -> float:
        """How much of this mask lies in another one."""
        shared, own = np.bitwise_count(self.packed & seen), np.bitwise_count(self.packed)
        return float(shared.sum() / max(1, own.sum()))


class Cache(Protocol):
    """Keeps masks that were read before."""

    def get(self, key: Hashable) -> Packed | None: ...

    def put(self, key: Hashable, value: Packed) -> None: ...


def regions(task: Mapping[str, Any], target: Target, cache: Cache) -> list[Region]:
    """The masks with the target's label, image and page."""
    results = _results(task)
    wanted = set(target.labels)
    ids = {id_ for id_, labels in _labels_by_id(results).items() if labels == wanted}
    on_target = [result for result in results if _is_on(result, target)]
    found = []
    for region_id, parts in _objects(on_target).items():
        if all(name(part.get("id")) in ids for part in parts):
            packed = _read(task, region_id, parts, cache)
            found.append(Region(region_id, packed, tuple(parts)))
    return found


def has_masks(task: Mapping[str, Any]) -> bool:
    """Whether a click in this task would have masks to look at."""
    return any(result.get("type") in _TYPES for result in _results(task))


def read_ahead(task: Mapping[str, Any], cache: Cache) -> None:
    """Fills the cache with a task's masks: a hundred of them would keep the first click waiting."""
    by_image: dict[Hashable, Parts] = {}
    for result in _results(task):
        size = result.get("original_width"), result.get("original_height")
        place = *size, result.get("to_name"), result.get("item_index")
        is_known = all(isinstance(value, int | str | None) for value in place)
        if is_known and all(isinstance(side, int) and side > 0 for side in size):
            by_image.setdefault(place, []).append(result)
    for results in by_image.values():
        for region_id, parts in _objects(results).items():
            if not any(_is_large_bitmask(part) for part in parts):
                _read(task, region_id, parts, cache)


def meant(
    keypoint: Prompt, target: Target, known: Sequence[Region], seen: Callable[[], Mask]
) -> Region | None:
    """The mask that an object's first keypoint means, if any.

    `seen` tells the low-res mask (256, 256) of what the model sees at a positive keypoint.
    """
    holding = [region for region in known if region.holds(keypoint, target)]
    if not keypoint.is_positive:
        return holding[-1] if holding else None
    if holding or not known:
        return None  # inside a mask, a positive keypoint means a part of it: another object
    mask = np.packbits(seen())
    best = max(known, key=lambda region: region.share_in(mask))
    return best if best.share_in(mask) >= SAME_OBJECT else None


def changed_where_clicked(
    region: Region, answer: Segmentation, prompt: ObjectPrompt, target: Target
) -> Segmentation:
    """A mask that is there already, changed by an answer only where the clicks point at.

    What was painted by hand elsewhere stays as it was, to the pixel.
    """
    new = answer.state.logits
    _, labels = cv2.connectedComponents(((new > 0) != region.low_res).astype(np.uint8))
    height, width = scaled_size(target.height, target.width)
    scale = np.array([width / target.width, height / target.height]) * LOW_RES_SIDE / MODEL_SIDE
    columns, rows = np.clip((prompt.points * scale).astype(int), 0, LOW_RES_SIDE - 1).T
    clicked = np.isin(labels, [label for label in labels[rows, columns] if label])
    # A little wider, for the edge between two low-res pixels belongs to the change.
    changed = np.float32(cv2.dilate(clicked.astype(np.uint8), np.ones((3, 3), np.uint8)))
    here = upsample(changed, target.height, target.width) > 0.5
    return replace(answer, mask=np.where(here, answer.mask, _painted(region, target)))


def _results(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results of the newest draft; without one, of the only annotation.

    Drafts are of the annotator who clicks. Annotations may be of others: with several of them,
    nothing tells which one is being worked on.
    """
    source = drafts.newest(task.get("drafts"))
    annotations = drafts.mappings(task.get("annotations"))
    if source is None and len(annotations) == 1:
        source = annotations[0]
    return [] if source is None else drafts.results(source)


def _objects(results: Sequence[Mapping[str, Any]]) -> dict[str, Parts]:
    """The results that hold masks, by object."""
    found: dict[str, Parts] = {}
    for result in results:
        if result.get("type") in _TYPES and isinstance(result.get("value"), Mapping):
            found.setdefault(_PART.sub("", name(result.get("id"))), []).append(result)
    return found


def _is_on(result: Mapping[str, Any], target: Target) -> bool:
    return (
        result.get("to_name") == target.to_name
        and result.get("item_index") == target.item_index
        and result.get("original_width") == target.width
        and result.get("original_height") == target.height
    )


def _is_large_bitmask(result: Mapping[str, Any]) -> bool:
    pixels = result["original_width"] * result["original_height"]
    return "imageDataURL" in result["value"] and pixels > MOST_PIXELS_AHEAD


def _labels_by_id(results: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """A region's labels, from whichever of its results has them."""
    found: dict[str, set[str]] = {}
    for result in results:
        value = result.get("value")
        labels = value.get(name(result.get("type"))) if isinstance(value, Mapping) else None
        if isinstance(labels, list):
            found.setdefault(name(result.get("id")), set()).update(map(name, labels))
    return found


def _read(task: Mapping[str, Any], region_id: str, parts: Parts, cache: Cache) -> Packed:
    """An object's mask at low resolution, as it was read before or is read now."""
    size = parts[0]["original_height"], parts[0]["original_width"]
    key = (task.get("id"), region_id, size, *map(_signature, parts))
    packed = cache.get(key)
    if packed is None:
        packed = np.packbits(_low_res(parts, *size))
        cache.put(key, packed)
    return packed


def _signature(part: Mapping[str, Any]) -> Hashable:
    """Tells a mask from one that was painted over since, without reading all of it."""
    value = part["value"]
    for key in ("rle", "imageDataURL"):
        if key in value:
            content = value[key]
            if not isinstance(content, str | list):
                return "unreadable"
            some = content[:: max(1, len(content) // 256)]
            if isinstance(some, str):
                return len(content), some
            return (len(content), *some) if all(isinstance(n, int) for n in some) else "unreadable"
    return hashlib.sha256(repr(value.get("points")).encode(errors="replace")).digest()


def _low_res(parts: Parts, height: int, width: int) -> Mask:
    """The masks of all parts together, at low resolution."""
    step = LOW_RES_SIDE / MODEL_SIDE
    # The image's pixels in the middles of the low-res ones.
    rows, columns = (
        np.minimum(
            (np.arange(max(1, round(scaled * step))) + 0.5) / step * side / scaled, side - 1
        ).astype(np.intp)
        for scaled, side in zip(scaled_size(height, width), (height, width), strict=True)
    )
    mask = np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), bool)
    used = mask[: len(rows), : len(columns)]
    for part in parts:
        with contextlib.suppress(*_UNREADABLE):
            used |= mask_reader.sample(part["value"], height, width, rows, columns)
    return mask


def _painted(region: Region, target: Target) -> Mask:
    """The masks of all parts together. What cannot be read is not there."""
    try:
        return mask_reader.union([p["value"] for p in region.parts], target.height, target.width)
    except ValueError as error:
        raise Refusal(
            "prompt", f"the mask that was clicked cannot be changed, {error}: draw it again"
        ) from None


def _low_res_place(keypoint: Prompt, target: Target) -> tuple[int, int]:
    step = LOW_RES_SIDE / MODEL_SIDE
    height, width = scaled_size(target.height, target.width)
    row = min(LOW_RES_SIDE - 1, max(0, int(keypoint.y / 100 * height * step)))
    column = min(LOW_RES_SIDE - 1, max(0, int(keypoint.x / 100 * width * step)))
    return row, column
