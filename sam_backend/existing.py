"""Masks that the annotator already has, to be finished instead of drawn again.

A click means one of them if it cuts it (a negative keypoint inside), or if it lies beside it and
the object that the model sees there contains most of it. The answer then starts from that mask and
takes its place.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np

from sam_backend import drafts, masks, rle
from sam_backend.engine import LOW_RES_SIDE, MODEL_SIDE, Floats, scaled_size, upsample
from sam_backend.mask import Mask
from sam_backend.prompts import Prompt, Target
from sam_backend.segmenter import ObjectPrompt, Segmentation

# Of an image whose masks are read ahead: its size is not known yet, only what a task says of it.
MOST_PIXELS_AHEAD = 200_000_000
SAME_OBJECT = 0.6  # of a mask lies in what the model sees where the click is
_CERTAIN = 8.0  # the logit of a pixel that is all in, or all out

_TYPES = ("brushlabels", "brush", "bitmasklabels", "bitmask", "polygonlabels", "polygon")
_UNREADABLE = (ValueError, TypeError, OSError, KeyError)
_PART = re.compile(r"\.\d+$")  # parts of one object are named a, a.2, a.3, …


@dataclass(frozen=True)
class Region:
    """A mask of the prompt's label in the annotation that is being worked on."""

    id: str
    low_res: Mask  # (256, 256)
    parts: tuple[Mapping[str, Any], ...]  # the results that it is made of

    @property
    def logits(self) -> Floats:
        """The mask as the engine takes it (256, 256)."""
        return ((2 * self.low_res - 1) * _CERTAIN).astype(np.float32)

    def holds(self, keypoint: Prompt, target: Target) -> bool:
        row, column = _low_res_place(keypoint, target)
        return bool(self.low_res[row, column])

    def share_in(self, seen: Mask) -> float:
        """How much of this mask lies in another (256, 256) one."""
        return float((self.low_res & seen).sum() / max(1, self.low_res.sum()))


class Cache(Protocol):
    """Keeps masks that were read before."""

    def get(self, key: Hashable) -> Mask | None: ...

    def put(self, key: Hashable, value: Mask) -> None: ...


def regions(task: Mapping[str, Any], target: Target, cache: Cache) -> list[Region]:
    """The masks with the target's label, image and page."""
    results: dict[str, list[Mapping[str, Any]]] = {}
    for result in _results(task):
        if result.get("type") in _TYPES and _is_on(result, target):
            results.setdefault(_PART.sub("", str(result.get("id"))), []).append(result)
    labelled = _labels_by_id(task)
    found = []
    for region_id, parts in results.items():
        if all(labelled.get(str(part.get("id"))) == set(target.labels) for part in parts):
            key = (task.get("id"), region_id, *map(_signature, parts))
            low_res = cache.get(key)
            if low_res is None:
                low_res = _low_res(parts, target)
                cache.put(key, low_res)
            found.append(Region(region_id, low_res, tuple(parts)))
    return found


def has_masks(task: Mapping[str, Any]) -> bool:
    """Whether a click in this task would have masks to look at."""
    return any(result.get("type") in _TYPES for result in _results(task))


def read_ahead(task: Mapping[str, Any], cache: Cache) -> None:
    """Fills the cache with a task's masks: a hundred of them would keep the first click waiting."""
    labelled = _labels_by_id(task)
    targets = {
        Target(
            to_name=str(result.get("to_name")),
            item_index=result.get("item_index"),
            labels=tuple(sorted(labelled.get(str(result.get("id")), ()))),
            width=int(result.get("original_width") or 0),
            height=int(result.get("original_height") or 0),
            rotation=0,
        )
        for result in _results(task)
        if result.get("type") in _TYPES
    }
    for target in targets:
        if target.width * target.height <= MOST_PIXELS_AHEAD:
            regions(task, target, cache)


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
    mask = seen()
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
    old = _painted(region.parts, target)
    return replace(answer, mask=np.where(here, answer.mask, old))


def _results(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results of the newest draft; without one, of the only annotation.

    Drafts are of the annotator who clicks. Annotations may be of others: with several of them,
    nothing tells which one is being worked on.
    """
    source = drafts.newest(task.get("drafts"))
    annotations = drafts.mappings(task.get("annotations"))
    if source is None and len(annotations) == 1:
        source = annotations[0]
    return [] if source is None else drafts.mappings(source.get("result"))


def _is_on(result: Mapping[str, Any], target: Target) -> bool:
    return (
        result.get("to_name") == target.to_name
        and result.get("item_index") == target.item_index
        and result.get("original_width") == target.width
        and result.get("original_height") == target.height
        and isinstance(result.get("value"), Mapping)
    )


def _labels_by_id(task: Mapping[str, Any]) -> dict[str, set[str]]:
    """A region's labels, from whichever of its results has them."""
    found: dict[str, set[str]] = {}
    for result in _results(task):
        value = result.get("value")
        labels = value.get(str(result.get("type"))) if isinstance(value, Mapping) else None
        if isinstance(labels, list):
            found.setdefault(str(result.get("id")), set()).update(map(str, labels))
    return found


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
    return repr(value.get("points"))


def _low_res(parts: Sequence[Mapping[str, Any]], target: Target) -> Mask:
    """The masks of all parts together, at low resolution."""
    step = LOW_RES_SIDE / MODEL_SIDE
    size = (target.height, target.width)
    # The image's pixels in the middles of the low-res ones.
    rows, columns = (
        np.minimum(
            (np.arange(max(1, round(scaled * step))) + 0.5) / step * side / scaled, side - 1
        ).astype(np.intp)
        for scaled, side in zip(scaled_size(*size), size, strict=True)
    )
    mask = np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), bool)
    used = mask[: len(rows), : len(columns)]
    for part in parts:
        value = part["value"]
        with contextlib.suppress(*_UNREADABLE):
            if "rle" in value:
                used |= rle.sample(value["rle"], *size, rows, columns)
            else:
                used |= masks.read(value, *size)[rows[:, None], columns]
    return mask


def _painted(parts: Sequence[Mapping[str, Any]], target: Target) -> Mask:
    """The masks of all parts together. What cannot be read is not there."""
    mask = np.zeros((target.height, target.width), bool)
    for part in parts:
        with contextlib.suppress(*_UNREADABLE):
            mask |= masks.read(part["value"], target.height, target.width)
    return mask


def _low_res_place(keypoint: Prompt, target: Target) -> tuple[int, int]:
    step = LOW_RES_SIDE / MODEL_SIDE
    height, width = scaled_size(target.height, target.width)
    row = min(LOW_RES_SIDE - 1, max(0, int(keypoint.y / 100 * height * step)))
    column = min(LOW_RES_SIDE - 1, max(0, int(keypoint.x / 100 * width * step)))
    return row, column
