"""Compares the masks of two engines. A converted model must pass this."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np

from sam_backend.engines.frame import LOW_RES_SIDE, Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.pictures import Pixels

WARM_UP = 3.0  # seconds


def compare(one: Engine, other: Engine, image: Pixels) -> float:
    """Prints how fast both engines encode and how well their masks agree. The lowest IoU."""
    seconds, embedding = _timed(one, image)
    other_seconds, other_embedding = _timed(other, image)
    distance = float(np.abs(embedding.features - other_embedding.features).max())
    ratio = seconds / other_seconds
    print(f"  encoding takes {seconds:.2f} s and {other_seconds:.2f} s: {ratio:.1f} times as fast")
    print(f"  embeddings differ by at most {distance:.1e}")
    worst = 1.0
    for kind, prompt in prompts(*image.shape[:2]).items():
        masks, scores = one.decode(embedding, *prompt)
        others, other_scores = other.decode(other_embedding, *prompt)
        order, other_order = _order(scores), _order(other_scores)
        lowest = min(
            iou(embedding.frame.upsample(mask), embedding.frame.upsample(other))
            for mask, other in zip(masks[order], others[other_order], strict=True)
        )
        shift = float(np.abs(scores[order] - other_scores[other_order]).max())
        apart = float(np.abs(masks[order] - others[other_order]).max())
        print(
            f"  {kind}: IoU of the masks at least {lowest:.4f}, "
            f"logits within {apart:.1e}, scores within {shift:.1e}"
        )
        worst = min(worst, lowest)
    return worst


def prompts(height: int, width: int) -> dict[str, tuple[Floats, Floats, Floats | None, Any]]:
    """A prompt of each kind, as arguments of `Engine.decode`."""

    def at(*fractions: float) -> Floats:
        size = np.array([width, height], np.float32)
        return np.array(fractions, np.float32).reshape(-1, 2) * size

    box = at(0.2, 0.2, 0.8, 0.8).ravel()
    mask = np.full((LOW_RES_SIDE, LOW_RES_SIDE), -8, np.float32)
    cv2.circle(mask, (100, 80), 40, 8, -1)
    one, two = np.ones(1, np.float32), np.array([1, 0], np.float32)
    return {
        "a point": (at(0.5, 0.5), one, None, None),
        "two points": (at(0.5, 0.5, 0.1, 0.1), two, None, None),
        "a rectangle": (at(), one[:0], box, None),
        "a rectangle and points": (at(0.5, 0.5, 0.1, 0.1), two, box, None),
        "a point and a mask": (at(0.5, 0.5), one, None, mask),
    }


def scene(height: int, width: int) -> Pixels:
    """A synthetic image: discs and a bar on a gradient."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * 90 // height + 60, columns * 90 // width + 60, rows * 0 + 90], -1)
    picture = np.ascontiguousarray(image.astype(np.uint8))
    unit = max(1, min(height, width) // 10)
    cv2.circle(picture, (width // 2, height // 2), 3 * unit, (210, 60, 40), -1)
    cv2.circle(picture, (width // 2, height // 2), unit, (240, 220, 60), -1)
    cv2.rectangle(picture, (unit, unit), (3 * unit, 2 * unit), (40, 60, 200), -1)
    return picture


def _order(scores: Floats) -> list[int]:
    """The single mask first. Some models sort the others by their scores."""
    return [0, *(1 + np.argsort(-scores[1:], kind="stable"))]


def _timed(engine: Engine, image: Pixels) -> tuple[float, Embedding]:
    start = time.perf_counter()
    embedding = engine.encode(image)
    if time.perf_counter() - start < WARM_UP:  # the first one mostly allocates memory
        start = time.perf_counter()
        embedding = engine.encode(image)
    return time.perf_counter() - start, embedding


def iou(first: Floats, second: Floats) -> float:
    """The IoU of two masks of logits. It is 1 if both are empty."""
    a, b = first > 0, second > 0
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
