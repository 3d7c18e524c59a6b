"""From prompts to one mask: what to ask the engine, and which of its masks to show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam_backend.engine import Embedding, Engine, Floats, upsample

SINGLE_MASK = 0  # the engine's token for one unambiguous mask


@dataclass(frozen=True)
class ObjectPrompt:
    """All that points at one object, in image pixels, in the order in which it was placed."""

    points: Floats  # (N, 2) x, y
    labels: Floats  # (N,) 1 positive, 0 negative
    box: Floats | None  # (4,) x0, y0, x1, y1


@dataclass(frozen=True)
class Segmentation:
    """The mask of one object at the image's size, and how sure the model is of it (0 to 1)."""

    mask: npt.NDArray[np.bool_]  # (H, W)
    score: float


def segment(engine: Engine, embedding: Embedding, prompt: ObjectPrompt) -> Segmentation:
    """The single-mask token's answer: for a first click it beats the best-scored of the three."""
    logits, scores = engine.decode(embedding, prompt.points, prompt.labels, prompt.box)
    mask = upsample(logits[SINGLE_MASK], embedding.height, embedding.width) > 0
    return Segmentation(mask, score=float(np.clip(scores[SINGLE_MASK], 0, 1)))
