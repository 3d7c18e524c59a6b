"""From prompts to one mask: what to ask the engine, and which of its masks to show.

The first click is ambiguous (a part, the whole, a group), so the four masks vote. A mask's vote is
what the model thinks of it, times how central the click lies in it: people click in the middle of
what they mean. The winner is the mask that the other votes overlap most with. From then on the
single-mask token is asked, which SAM was trained to answer with when it is given its own last
answer: each click is decoded on top of the previous logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.engine import (
    LOW_RES_SIDE,
    MODEL_SIDE,
    Embedding,
    Engine,
    Floats,
    scaled_size,
    upsample,
)

Mask = npt.NDArray[np.bool_]

SINGLE_MASK = 0  # the engine's token for one unambiguous mask
FEEDBACK_LIMIT = 10.0  # logits beyond this say no more, yet swamp the mask encoder


@dataclass(frozen=True)
class ObjectPrompt:
    """All that points at one object, in image pixels, in the order in which it was placed."""

    points: Floats  # (N, 2) x, y
    labels: Floats  # (N,) 1 positive, 0 negative
    box: Floats | None  # (4,) x0, y0, x1, y1


def no_prompt() -> ObjectPrompt:
    """Before the first click."""
    return ObjectPrompt(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), None)


@dataclass(frozen=True)
class State:
    """What an answer leaves behind for a prompt that extends the one it answered."""

    prompt: ObjectPrompt
    logits: Floats  # (256, 256), low-res
    score: float


@dataclass(frozen=True)
class Segmentation:
    """The mask of one object at the image's size, and how sure the model is of it (0 to 1)."""

    mask: Mask  # (H, W)
    score: float
    state: State


def segment(
    engine: Engine, embedding: Embedding, prompt: ObjectPrompt, state: State | None = None
) -> Segmentation:
    """The mask that the prompt means.

    Clicks are decoded one after another, each on top of the last answer. A state that answers the
    first clicks of this prompt only saves decoding them again: the mask is the same without it.
    """
    if state is not None and not _extends(prompt, state.prompt):
        state = None
    done = 0 if state is None else len(state.prompt.points)
    for count in range(max(done + 1, 1 if prompt.box is None else 0), len(prompt.points) + 1):
        state = _step(engine, embedding, prompt, count, state)
    if state is None:
        state = _step(engine, embedding, prompt, 0, None)
    mask = upsample(state.logits, embedding.height, embedding.width) > 0
    return Segmentation(mask, state.score, state)


def _extends(prompt: ObjectPrompt, earlier: ObjectPrompt) -> bool:
    count = len(earlier.points)
    if (prompt.box is None) != (earlier.box is None) or count > len(prompt.points):
        return False
    same_box = prompt.box is None or np.array_equal(prompt.box, np.asarray(earlier.box))
    return (
        same_box
        and np.array_equal(prompt.points[:count], earlier.points)
        and np.array_equal(prompt.labels[:count], earlier.labels)
    )


def _step(
    engine: Engine, embedding: Embedding, prompt: ObjectPrompt, count: int, state: State | None
) -> State:
    points, labels = prompt.points[:count], prompt.labels[:count]
    feedback = None if state is None else np.clip(state.logits, -FEEDBACK_LIMIT, FEEDBACK_LIMIT)
    logits, scores = engine.decode(embedding, points, labels, prompt.box, feedback)
    chosen = SINGLE_MASK
    if state is None and prompt.box is None:
        chosen = _vote(logits, scores, embedding, points[labels > 0])
    score = float(np.clip(scores[chosen], 0, 1))
    return State(ObjectPrompt(points, labels, prompt.box), logits[chosen], score)


def _vote(logits: Floats, scores: Floats, embedding: Embedding, points: Floats) -> int:
    height, width = scaled_size(embedding.height, embedding.width)
    step = LOW_RES_SIDE / MODEL_SIDE
    rows, columns = np.ceil([height * step, width * step]).astype(int)
    masks = logits[:, :rows, :columns] > 0
    scale = np.array([width / embedding.width, height / embedding.height]) * step
    spots = np.clip((points * scale).astype(int), 0, [columns - 1, rows - 1])
    votes = np.clip(scores, 0.01, 1) * [_centrality(mask, spots) for mask in masks]
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    shared = flat @ flat.T
    areas = flat.sum(1)
    overlap = shared / np.maximum(areas[:, None] + areas - shared, 1)
    return int(np.argmax(votes * (overlap @ votes)))


def _centrality(mask: Mask, spots: npt.NDArray[np.int_]) -> float:
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    if not len(spots) or depth.max() <= 0:
        return 0.0
    return float(depth[spots[:, 1], spots[:, 0]].min() / depth.max())
