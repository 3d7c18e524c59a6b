"""Corrections of masks that the annotator already has.

A click corrects a mask if it is a negative keypoint inside it. A positive keypoint beside a mask
corrects it if the model finds an object there that contains most of the mask. The answer then
starts from that mask and replaces it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.clicks.segmenter import ObjectPrompt, Segmentation
from sam_backend.engines.frame import LOW_RES_SIDE, Floats, Frame, Indices
from sam_backend.errors import Refusal
from sam_backend.formats import mask_reader, results
from sam_backend.formats.mask import Mask
from sam_backend.formats.results import Result, is_mask, name, object_id

Packed = npt.NDArray[np.uint8]  # a low-res mask (256, 256), eight pixels a byte
Parts = list[Result]

# Of a bitmask that is read ahead: its image is not known yet, only what a task says of it.
MOST_PIXELS_AHEAD = 32_000_000
SAME_OBJECT = 0.6  # of a mask lies in what the model sees where the click is
_CERTAIN = 8.0  # the logit of a pixel that is all in, or all out

_UNREADABLE = (ValueError, TypeError, OSError, KeyError)


@dataclass(frozen=True)
class ExistingMask:
    """A mask with the prompt's label in the open annotation.

    It is read at the first use of its pixels, because most masks are far from a click.
    """

    id: str
    parts: tuple[Result, ...]  # the results that it is made of
    _key: Hashable
    _cache: Cache

    @cached_property
    def packed(self) -> Packed:
        """The mask at low resolution, from the cache if possible."""
        packed = self._cache.get(self._key)
        if packed is None:
            packed = np.packbits(_low_res(self.parts))
            self._cache.put(self._key, packed)
        return packed

    def starts_below(self, row: int) -> bool:
        """Whether an unread mask is known to be empty down to a low-res row."""
        return self._cache.get(self._key) is None and row < self._empty_rows

    @cached_property
    def _empty_rows(self) -> int:
        """The number of low-res rows at the top that are known to be empty."""
        page = results.page(self.parts[0])
        empty = min(
            mask_reader.empty_rows(part["value"], page.height, page.width) for part in self.parts
        )
        return int(np.searchsorted(_middles(page.height, page.width)[0], empty))

    @property
    def low_res(self) -> Mask:
        """The mask (256, 256)."""
        return np.unpackbits(self.packed).reshape(LOW_RES_SIDE, LOW_RES_SIDE) > 0

    @property
    def logits(self) -> Floats:
        """The mask as the engine takes it (256, 256)."""
        return ((2 * self.low_res - 1) * _CERTAIN).astype(np.float32)

    def holds(self, column: int, row: int) -> bool:
        """Whether a low-res pixel is in the mask."""
        if self.starts_below(row):
            return False
        byte, bit = divmod(row * LOW_RES_SIDE + column, 8)
        return bool(self.packed[byte] << bit & 0x80)

    def share_in(self, packed: Packed) -> float:
        """The share of this mask that lies in another one."""
        shared, own = np.bitwise_count(self.packed & packed), np.bitwise_count(self.packed)
        return float(shared.sum() / max(1, own.sum()))


class Cache(Protocol):
    """A cache of decoded masks."""

    def get(self, key: Hashable) -> Packed | None: ...

    def put(self, key: Hashable, value: Packed) -> None: ...


def on_target(task: Mapping[str, Any], target: Target, cache: Cache) -> list[ExistingMask]:
    """The masks with the target's label, image and page."""
    wanted = set(target.labels)
    named = _labels_by_id(in_annotation(task)).items()
    ids = {id_ for id_, labels in named if labels == wanted}
    return [
        region
        for region in on_page(task, target, cache)
        if all(name(part.get("id")) in ids for part in region.parts)
    ]


def on_page(task: Mapping[str, Any], target: Target, cache: Cache) -> list[ExistingMask]:
    """The masks of any label with the target's image and page."""
    there = [r for r in in_annotation(task) if is_mask(r) and results.page(r) == target.page]
    return [_mask(region_id, parts, cache) for region_id, parts in _objects(there).items()]


def touching(
    task: Mapping[str, Any], target: Target, mask: Mask, cache: Cache
) -> list[ExistingMask]:
    """The masks of any label on the target's page that seem to overlap a mask (H, W)."""
    rows, columns = (len(middles) for middles in target.frame.middles())
    small = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA) > 0
    around = np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), np.uint8)
    around[:rows, :columns] = small
    near = np.packbits(cv2.dilate(around, np.ones((3, 3), np.uint8)) > 0)
    return [
        region
        for region in on_page(task, target, cache)
        if np.bitwise_and(region.packed, near).any()
    ]


def has_masks(task: Mapping[str, Any]) -> bool:
    """Whether a click in this task might correct a mask."""
    return any(map(is_mask, in_annotation(task)))


def read_ahead(task: Mapping[str, Any], cache: Cache) -> None:
    """Fills the cache with a task's masks. Otherwise, the first click would decode all of them."""
    by_page: dict[results.Page, Parts] = {}
    for result in in_annotation(task):
        page = results.page(result)
        if page.height > 0 and page.width > 0:
            by_page.setdefault(page, []).append(result)
    for members in by_page.values():
        for region_id, parts in _objects(members).items():
            if not any(_is_large_bitmask(part) for part in parts):
                _ = _mask(region_id, parts, cache).packed


def masks_of(annotation: results.Saved, most: int) -> list[tuple[str, set[str], Mask]]:
    """The id, the labels and the low-res mask, without padding, of up to `most` objects."""
    members = results.of_saved(annotation)
    labels = _labels_by_id(members)
    found = []
    for region_id, parts in list(_objects(members).items())[:most]:
        page = results.page(parts[0])
        is_readable = page.height > 0 and page.width > 0
        if is_readable and not any(_is_large_bitmask(part) for part in parts):
            rows, columns = Frame(page.height, page.width).used
            mask = _low_res(parts)[:rows, :columns]
            found.append((region_id, labels.get(name(parts[0].get("id")), set()), mask))
    return found


def corrected(
    keypoint: Prompt,
    target: Target,
    known: Sequence[ExistingMask],
    low_res_mask: Callable[[], Mask],
) -> ExistingMask | None:
    """The mask that an object's first keypoint corrects, if any.

    `low_res_mask` returns the model's low-res mask (256, 256) at a positive keypoint.
    """
    column, row = map(int, target.frame.spots(target.pixels([keypoint]))[0])
    holding = (region for region in reversed(known) if region.holds(column, row))
    if not keypoint.is_positive:
        return next(holding, None)
    if not known or any(holding):
        return None  # a positive keypoint inside a mask starts another object
    mask = low_res_mask()
    packed = np.packbits(mask)
    last = int(np.flatnonzero(mask.any(axis=1)).max(initial=0))
    shares = [
        (region.share_in(packed), region) for region in known if not region.starts_below(last)
    ]
    share, best = max(shares, key=lambda pair: pair[0], default=(0.0, None))
    return best if share >= SAME_OBJECT else None


def changed_where_clicked(
    region: ExistingMask, answer: Segmentation, prompt: ObjectPrompt, target: Target
) -> Segmentation:
    """An existing mask, changed by an answer only near the clicks.

    All other pixels, which may be painted by hand, stay unchanged.
    """
    new = answer.state.logits
    _, labels = cv2.connectedComponents(((new > 0) != region.low_res).astype(np.uint8))
    columns, rows = target.frame.spots(prompt.points).T
    clicked = np.isin(labels, [label for label in labels[rows, columns] if label])
    # A little wider, because the edge between two low-res pixels belongs to the change.
    changed = np.float32(cv2.dilate(clicked.astype(np.uint8), np.ones((3, 3), np.uint8)))
    here = target.frame.upsample(changed) > 0.5
    return replace(answer, mask=np.where(here, answer.mask, _painted(region, target)))


def in_annotation(task: Mapping[str, Any]) -> list[Result]:
    """The results of the newest draft, or of the only annotation.

    A draft belongs to the annotator who clicks. Annotations may belong to others, and nothing shows
    which one of several is open.
    """
    source = results.newest(task.get("drafts"))
    annotations = results.mappings(task.get("annotations"))
    if source is None and len(annotations) == 1:
        source = annotations[0]
    return [] if source is None else results.of_saved(source)


def _objects(members: Sequence[Result]) -> dict[str, Parts]:
    """The results that hold masks, by object."""
    found: dict[str, Parts] = {}
    for result in filter(is_mask, members):
        found.setdefault(object_id(name(result.get("id"))), []).append(result)
    return found


def _is_large_bitmask(result: Result) -> bool:
    page = results.page(result)
    pixels = page.width * page.height
    return "imageDataURL" in result["value"] and pixels > MOST_PIXELS_AHEAD


def _labels_by_id(members: Sequence[Result]) -> dict[str, set[str]]:
    """A region's labels, from the result that has them."""
    found: dict[str, set[str]] = {}
    for result in members:
        words = results.labels(result)
        if words is not None:
            found.setdefault(name(result.get("id")), set()).update(map(name, words))
    return found


def _mask(region_id: str, parts: Parts, cache: Cache) -> ExistingMask:
    page = results.page(parts[0])
    # All that it is read from, and no id: requests choose ids, and may name another mask by them.
    key = ((page.height, page.width), *map(_signature, parts))
    return ExistingMask(region_id, tuple(parts), key, cache)


def _signature(part: Result) -> Hashable:
    """A small key of all that a mask is read from."""
    value = part["value"]
    if "rle" in value:
        return "rle", _content_key(value["rle"])
    if mask_reader.has_outline(value):
        outline = [value.get(key) for key in ("points", "vertices", "closed")]
        return "outline", hashlib.sha256(repr(outline).encode(errors="replace")).digest()
    return "bitmask", _content_key(value.get("imageDataURL"))


def _content_key(content: object) -> Hashable:
    """A key of a text, or of a list of bytes."""
    # Python hashes a gigabyte in 0.2 s, with a secret of the process that no sender can know.
    if isinstance(content, str):
        return len(content), hash(content)
    try:
        return hash(bytes(content)) if isinstance(content, list) else "unreadable"
    except (ValueError, TypeError):
        return "unreadable"


def _low_res(parts: Sequence[Result]) -> Mask:
    """The masks of all parts together, at low resolution."""
    page = results.page(parts[0])
    height, width = page.height, page.width
    rows, columns = _middles(height, width)
    mask = np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), bool)
    used = mask[: len(rows), : len(columns)]
    for part in parts:
        with contextlib.suppress(*_UNREADABLE):
            used |= mask_reader.sample(part["value"], height, width, rows, columns)
    return mask


@lru_cache(maxsize=64)
def _middles(height: int, width: int) -> tuple[Indices, Indices]:
    """The same for all masks on images of a size."""
    return Frame(height, width).middles()


def _painted(region: ExistingMask, target: Target) -> Mask:
    """The masks of all parts together. Parts that cannot be read are left out."""
    try:
        return mask_reader.union([p["value"] for p in region.parts], target.height, target.width)
    except ValueError as error:
        raise Refusal(
            "prompt", f"the clicked mask cannot be changed ({error}): draw it again"
        ) from None
