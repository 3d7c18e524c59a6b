"""Later clicks for a model that takes neither negative points nor an earlier mask.

A positive click is decoded together with the positive ones before it, and the answer is mixed with
the last one. A negative click is decoded as if it were positive, and what the model finds there is
taken away. A mask with a click of the other kind in it does not count. If none is left, only the
spot around the click changes.
"""

from __future__ import annotations

import numpy as np

from sam_backend.engines.frame import LOW_RES_SIDE, Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask

WEIGHTS = np.array([6, 3, 3, 3], np.float32)  # of the four masks
LAST = 0.25  # the weight of the last answer beside the masks of a positive click
# The four masks and their scores before the first positive click.
NOTHING = (np.full((4, LOW_RES_SIDE, LOW_RES_SIDE), -10, np.float32), np.zeros(4, np.float32))


def changed(
    engine: Engine,
    embedding: Embedding,
    prompt: tuple[Floats, Mask, Floats | None],
    last: Floats,
    *,
    resumed: bool,
) -> tuple[Floats, tuple[Floats, Floats]]:
    """The logits (256, 256) after the newest click, and what the model answered.

    `prompt` has the points (N, 2), which of them are positive, and the box. `last` is the answer
    before the newest one. `resumed` says that it began with an existing mask, which may only grow
    where a positive click is.
    """
    points, positive, box = prompt
    adds = bool(positive[-1])
    asked = points[positive] if adds else points[-1:]
    candidates, scores = engine.decode(
        embedding, asked, np.ones(len(asked), np.float32), box if adds else None
    )
    x, y = embedding.frame.spots(points[positive != adds]).T
    weights = WEIGHTS * (candidates[:, y, x] <= 0).all(axis=1)
    if not weights.any():
        return last, (candidates, scores)
    found = np.tensordot(weights / weights.sum(), candidates, axes=1)
    if not adds:
        logits = np.minimum(last, -found)
    elif resumed:
        logits = np.maximum(last, found)
    else:
        logits = (1 - np.float32(LAST)) * found + np.float32(LAST) * last
    return logits, (candidates, scores)
