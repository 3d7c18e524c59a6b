"""Masks that the annotator already has, to be finished instead of drawn again.

A click means one of them if it cuts it (a negative keypoint inside), or if it lies beside it and
the object that the model sees there contains most of it. The answer then starts from that mask and
takes its place.
"""

from __future__ import annotations

import base64
import contextlib
import io
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam_backend import rle
from sam_backend.engine import LOW_RES_SIDE, MODEL_SIDE, Floats, scaled_size, upsample
from sam_backend.prompts import Prompt, Target
from sam_backend.segmenter import ObjectPrompt, Segmentation

Mask = npt.NDArray[np.bool_]  # (H, W)

SAME_OBJECT = 0.6  # of a mask lies in what the model sees where the click is
_CERTAIN = 8.0  # the logit of a pixel that is all in, or all out

_TYPES = ("brushlabels", "brush", "bitmasklabels", "bitmask", "polygonlabels", "polygon")
_PART = re.compile(r"\.\d+$")  # parts of one object are named a, a.2, a.3, …


@dataclass(frozen=True)
class Region:
    """A mask of the prompt's label in the annotation that is being worked on."""

    id: str
    logits: Floats  # (256, 256), low-res: the mask as the engine takes it
    parts: tuple[Mapping[str, Any], ...]  # the results that it is made of

    def holds(self, keypoint: Prompt, target: Target) -> bool:
        row, column = _low_res_place(keypoint, target)
        return bool(self.logits[row, column] > 0)

    def share_in(self, seen: Mask) -> float:
        """How much of this mask lies in another (256, 256) one."""
        own = self.logits > 0
        return float((own & seen).sum() / max(1, own.sum()))


class Cache(Protocol):
    """Keeps masks that were read before."""

    def get(self, key: Hashable) -> Floats | None: ...

    def put(self, key: Hashable, value: Floats) -> None: ...


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
            logits = cache.get(key)
            if logits is None:
                logits = _logits(parts, target)
                cache.put(key, logits)
            found.append(Region(region_id, logits, tuple(parts)))
    return found


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
    _, labels = cv2.connectedComponents(((new > 0) != (region.logits > 0)).astype(np.uint8))
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
    drafts = [d for d in task.get("drafts") or [] if isinstance(d, Mapping)]
    annotations = [a for a in task.get("annotations") or [] if isinstance(a, Mapping)]
    if drafts:
        source = max(drafts, key=lambda draft: str(draft.get("updated_at")))
    elif len(annotations) == 1:
        source = annotations[0]
    else:
        return []
    return [result for result in source.get("result") or [] if isinstance(result, Mapping)]


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
            return len(content), tuple(content[:: max(1, len(content) // 256)])
    return repr(value.get("points"))


def _logits(parts: Sequence[Mapping[str, Any]], target: Target) -> Floats:
    """The masks of all parts together, at low resolution."""
    mask = _painted(parts, target)
    step = LOW_RES_SIDE / MODEL_SIDE
    height, width = (max(1, round(side * step)) for side in scaled_size(*mask.shape))
    covered = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    logits = np.full((LOW_RES_SIDE, LOW_RES_SIDE), -_CERTAIN, np.float32)
    logits[:height, :width] = (2 * covered - 1) * _CERTAIN
    return logits


def _painted(parts: Sequence[Mapping[str, Any]], target: Target) -> Mask:
    """The masks of all parts together. What cannot be read is not there."""
    mask = np.zeros((target.height, target.width), bool)
    for part in parts:
        with contextlib.suppress(ValueError, TypeError, OSError, KeyError):
            mask |= _read(part["value"], target.height, target.width)
    return mask


def _read(value: Mapping[str, Any], height: int, width: int) -> Mask:
    if "rle" in value:
        return rle.decode(value["rle"], height, width)
    if "imageDataURL" in value:
        content = base64.b64decode(str(value["imageDataURL"]).partition(",")[2])
        with Image.open(io.BytesIO(content)) as image:
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if alpha.shape != (height, width):
            raise ValueError("a bitmask of another size")
        return alpha > 0
    points = np.array(value["points"], np.float64) / 100 * [width, height]
    painted = np.zeros((height, width), np.uint8)
    cv2.fillPoly(painted, [np.round(points - 0.5).astype(np.int32)], 1)
    return painted > 0


def _low_res_place(keypoint: Prompt, target: Target) -> tuple[int, int]:
    step = LOW_RES_SIDE / MODEL_SIDE
    height, width = scaled_size(target.height, target.width)
    row = min(LOW_RES_SIDE - 1, max(0, int(keypoint.y / 100 * height * step)))
    column = min(LOW_RES_SIDE - 1, max(0, int(keypoint.x / 100 * width * step)))
    return row, column
