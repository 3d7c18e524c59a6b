"""Finds all objects in a picture without prompts: decodes a grid of points, keeps good masks.

The grid is decoded from coarse to fine. If the smallest mask at a point is certain, other points in
it would give the same masks, so they are left out. Scores, stability and overlaps are computed on
low-res masks, and only the final proposals are scaled up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.clicks import specks
from sam_backend.engines.frame import LOW_RES_SIDE, Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask, tight_box
from sam_backend.formats.pictures import Pixels

Bits = npt.NDArray[np.uint8]
Level = Literal["all", "whole", "part", "subpart"]
LEVELS: tuple[Level, ...] = get_args(Level)

GRID = 32  # points along each side
MOST = 100  # proposals for a picture
MIN_IOU = 0.7  # the model's own score of a mask
MIN_STABILITY = 0.85  # the stability of the mask against the threshold
STEP = 1.0  # the shift of the threshold for the stability, logits
SAME_BOX, SAME_MASK = 0.7, 0.8  # the IoU above which a proposal is a duplicate
SPECK = 16  # low-res pixels: proposals below this are dropped,
SPECK_SHARE = 0.01  # and so are parts and holes below this share of it
# Where the smallest mask at a point is as sure as this, there is nothing smaller to look for;
# unless it is a large share of the picture.
SETTLED_IOU, SETTLED_STABILITY, SETTLED_SHARE = 0.85, 0.92, 0.1

_SMALLEST = 1
_TOKENS: dict[str, tuple[int, ...]] = {
    "all": (1, 2, 3),
    "subpart": (1,),
    "part": (2,),
    "whole": (3,),
}


@dataclass(frozen=True)
class Proposal:
    """A mask at the picture's size and its score, 0 to 1."""

    mask: Mask  # (H, W)
    score: float


@dataclass(frozen=True)
class _GridMask:
    score: float
    bits: Bits  # its pixels in the picture's low-res frame, packed
    area: int  # low-res pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 of that, ends outside
    logits: npt.NDArray[np.float16]  # low-res, of the view that it was seen in
    view: _View


@dataclass(frozen=True)
class _View:
    """The picture or a crop of it: its position and its embedding."""

    embedding: Embedding
    left: int
    top: int


def proposals(
    engine: Engine,
    embedding: Embedding,
    *,
    level: Level = "all",
    grid: int = GRID,
    min_iou: float = MIN_IOU,
    most: int = MOST,
    crops: int = 0,
    pixels: Callable[[], Pixels] | None = None,
) -> Iterator[Proposal]:
    """The masks of all objects in a picture, best first. Each one is scaled up when it is read.

    `crops` adds layers of crops: the first has 2 x 2, the second 4 x 4. Each layer has half as many
    points on a side. Crops need the picture itself.
    """
    whole = _View(embedding, 0, 0)
    found = _candidates(engine, whole, whole, grid, level, min_iou)
    if crops and pixels is not None:
        picture = pixels()
        for layer in range(1, crops + 1):
            for top, left, part in _crops(picture, 2**layer):
                view = _View(engine.encode(part), left, top)
                points = max(1, grid // 2**layer)
                found += _candidates(engine, view, whole, points, level, min_iou)
    for candidate in _without_duplicates(found, most):
        mask = _full_size(candidate, embedding)
        if mask.any():
            yield Proposal(mask, candidate.score)


def _candidates(
    engine: Engine, view: _View, whole: _View, grid: int, level: Level, min_iou: float
) -> list[_GridMask]:
    """The masks at the points of the grid that are good enough and not too small."""
    frame = view.embedding.frame
    settled = np.zeros(frame.used, bool)
    found = []
    for x, y in _coarse_to_fine(grid):
        point = np.array([[x * frame.width, y * frame.height]], np.float32)
        column, row = frame.spots(point)[0]
        if settled[row, column]:
            continue
        logits, scores = engine.decode(view.embedding, point, np.ones(1, np.float32))
        used = frame.cut(logits)
        for token in _TOKENS[level]:
            stability, area = stability_of(used[token])
            if scores[token] >= min_iou and stability >= MIN_STABILITY and area >= SPECK:
                score = float(min(1.0, scores[token]) * stability)
                candidate = _candidate(used[token], score, view, whole)
                if candidate is not None:
                    found.append(candidate)
        stability, area = stability_of(used[_SMALLEST])
        if (
            scores[_SMALLEST] >= SETTLED_IOU
            and stability >= SETTLED_STABILITY
            and area < SETTLED_SHARE * settled.size
        ):
            settled |= used[_SMALLEST] > 0
    return found


def stability_of(logits: Floats) -> tuple[float, int]:
    """The stability of a mask when the threshold moves, 0 to 1, and its certain area."""
    inner, outer = int((logits > STEP).sum()), int((logits > -STEP).sum())
    return inner / max(1, outer), inner


def _coarse_to_fine(grid: int) -> Iterator[tuple[float, float]]:
    """The centres of the grid's cells as fractions of the picture, distant ones first."""
    step = 4
    given: set[tuple[int, int]] = set()
    while step:
        for row in range(step // 2, grid, step):
            for column in range(step // 2, grid, step):
                if (row, column) not in given:
                    given.add((row, column))
                    yield (column + 0.5) / grid, (row + 0.5) / grid
        step //= 2
    for row in range(grid):
        for column in range(grid):
            if (row, column) not in given:
                yield (column + 0.5) / grid, (row + 0.5) / grid


def _candidate(logits: Floats, score: float, view: _View, whole: _View) -> _GridMask | None:
    mask = logits > 0
    if view is not whole:
        if _is_cut(mask, view, whole):
            return None
        mask = _in_whole(mask, view, whole)
    box = tight_box(mask)
    if box is None:
        return None
    bits, area = np.packbits(mask), int(np.count_nonzero(mask))
    return _GridMask(score, bits, area, box, logits.astype(np.float16), view)


def _without_duplicates(found: list[_GridMask], most: int) -> Iterator[_GridMask]:
    """The best masks, without duplicates by box or by mask."""
    if not found:
        return
    boxes = np.array([candidate.box for candidate in found], np.float32)
    bits = np.array([candidate.bits for candidate in found])
    areas = np.array([candidate.area for candidate in found])
    kept: list[int] = []
    for index in np.argsort([-candidate.score for candidate in found], kind="stable"):
        if len(kept) == most:
            return
        near = np.array(kept, int)
        boxed = overlap_of_boxes(boxes[index], boxes[near])
        if (boxed > SAME_BOX).any():
            continue
        near = near[boxed > 0]
        shared = np.bitwise_count(bits[near] & bits[index]).sum(axis=1, dtype=np.int64)
        if (shared > SAME_MASK * (areas[near] + areas[index] - shared)).any():
            continue
        kept.append(int(index))
        yield found[index]


def overlap_of_boxes(box: Floats, others: Floats) -> Floats:
    """Intersections over union (N,) of a box (4,) with others (N, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    # A text model may give boxes without an area.
    overlap: Floats = shared / np.maximum(areas - shared, np.float32(1e-9))
    return overlap


def _full_size(candidate: _GridMask, embedding: Embedding) -> Mask:
    """The mask at the picture's size (H, W), without specks and pinholes."""
    view = candidate.view
    logits = np.full((LOW_RES_SIDE, LOW_RES_SIDE), -10, np.float32)
    view.embedding.frame.cut(logits)[:] = without_specks(candidate.logits.astype(np.float32))
    in_view = view.embedding.frame.mask(logits)
    mask = np.zeros((embedding.height, embedding.width), bool)
    mask[view.top : view.top + in_view.shape[0], view.left : view.left + in_view.shape[1]] = in_view
    return mask


def without_specks(logits: Floats) -> Floats:
    """The mask without parts and holes that are a small share of it. Changes the logits."""
    specks.remove(logits, SPECK_SHARE, STEP)
    return logits


def _crops(picture: Pixels, count: int) -> Iterator[tuple[int, int, Pixels]]:
    """Top, left and pixels of count x count parts, which overlap by a third of their size."""
    height, width = picture.shape[:2]
    rows, columns = (_windows(length, count) for length in (height, width))
    for top, bottom in rows:
        for left, right in columns:
            yield top, left, np.ascontiguousarray(picture[top:bottom, left:right])


def _windows(length: int, count: int) -> list[tuple[int, int]]:
    size = min(length, -(-3 * length // (2 * count + 1)))
    starts = np.linspace(0, length - size, count).astype(int)
    return [(int(start), int(start) + size) for start in starts]


def _is_cut(mask: Mask, view: _View, whole: _View) -> bool:
    """Whether the mask touches an edge of its crop inside the picture."""
    right = view.left + view.embedding.width < whole.embedding.width
    bottom = view.top + view.embedding.height < whole.embedding.height
    return bool(
        (view.left > 0 and mask[:, 0].any())
        or (view.top > 0 and mask[0].any())
        or (right and mask[:, -1].any())
        or (bottom and mask[-1].any())
    )


def _in_whole(mask: Mask, view: _View, whole: _View) -> Mask:
    """A crop's low-res mask in the low-res frame of the picture."""
    rows, columns = whole.embedding.frame.used
    down, across = rows / whole.embedding.height, columns / whole.embedding.width
    top, left = round(view.top * down), round(view.left * across)
    height = max(1, min(rows - top, round(view.embedding.height * down)))
    width = max(1, min(columns - left, round(view.embedding.width * across)))
    small = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    placed = np.zeros((rows, columns), bool)
    placed[top : top + height, left : left + width] = small > 0.5
    return placed
