"""Later clicks for a model that takes neither negative points nor an earlier mask.

A positive click is asked about with all positive ones before it, and its mask is mixed with the
last answer. A negative click is asked about as if it were positive: the mask that the model finds
there is taken away. A mask that contains a click of the other kind is left out. If none remains,
only the spot around the click changes.
"""

from __future__ import annotations

import numpy as np

from sam_backend.engines.frame import Floats, Indices
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask

KEPT = 0.25  # the weight of the last answer beside the mask of a positive click


def changed(
    engine: Engine,
    embedding: Embedding,
    points: Floats,
    labels: Floats,
    box: Floats | None,
    last: Floats,
    *,
    resumed: bool,
) -> tuple[Floats, tuple[Floats, Floats]]:
    """The logits (256, 256) after the newest click, and what the model answered.

    `last` is the answer before it. `resumed` says that it is an existing mask, to which the model
    did not contribute.
    """
    frame = embedding.frame
    positive = labels > 0
    adds = bool(positive[-1])
    asked = points[positive] if adds else points[-1:]
    ones = np.ones(len(asked), np.float32)
    decoded = engine.decode(embedding, asked, ones, box if adds else None)
    others = frame.spots(points[positive != adds])
    found = _best(decoded[0] > 0, decoded[1], others)
    if found is None:
        return last, decoded
    new = decoded[0][found]
    if not adds:
        return np.minimum(last, -new), decoded
    if resumed:
        return np.maximum(last, new), decoded
    return (1 - KEPT) * new + KEPT * last, decoded


def _best(masks: Mask, scores: Floats, others: Indices) -> int | None:
    """The mask (n, h, w) with the best score that contains no click of the other kind."""
    clean = ~masks[:, others[:, 1], others[:, 0]].any(axis=1)
    return int(np.where(clean, scores, -np.inf).argmax()) if clean.any() else None
