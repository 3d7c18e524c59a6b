"""Chooses among the four masks of the first click.

The model's score counts, and the centrality of the click, because people click near the middle of
an object. A mask counts less if it runs along the picture's edges, as the background does, or if it
differs from the masks of this label that annotators kept.
"""

from __future__ import annotations

import cv2
import numpy as np

from sam_backend.clicks import without_feedback
from sam_backend.clicks.learnt_shapes import Learnt
from sam_backend.engines.frame import Floats, Indices
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask, tight_box


def decoded(
    engine: Engine, embedding: Embedding, points: Floats, labels: Floats, box: Floats | None
) -> tuple[Floats, Floats]:
    """Logits (4, 256, 256) and scores (4,) of the masks for the first prompts."""
    if not engine.facts.refines and box is None and not (labels > 0).any():
        return without_feedback.NOTHING
    return engine.decode(embedding, points, labels, box)


def likeliest(masks: Mask, scores: Floats, spots: Indices, learnt: Learnt | None) -> int:
    """The index of the most likely mask (4, h, w) for clicks at spots."""
    likely = np.clip(scores, 0.01, 1) ** 2
    for index, mask in enumerate(masks):
        likely[index] *= (1 - edge_share(mask)) ** 2
        if learnt is not None:
            likely[index] *= learnt.fit(mask)
    best, highest = 0, -1.0
    for index in np.argsort(-likely, kind="stable"):
        if likely[index] < highest:  # the place of the click can only lower it
            break
        # The click counts for half only, because some people click near the edge.
        weight = float(likely[index]) * (1 + _centrality(masks[index], spots)) / 2
        if weight > highest:
            best, highest = int(index), weight
    return best


def _centrality(mask: Mask, spots: Indices) -> float:
    """1 where the mask is thickest, 0 at its edge and outside."""
    box = tight_box(mask)
    if box is None or not len(spots) or not mask[spots[:, 1], spots[:, 0]].all():
        return 0.0
    left, top, right, bottom = box
    inner = mask[top:bottom, left:right].view(np.uint8)
    near = cv2.copyMakeBorder(inner, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(near, cv2.DIST_L2, cv2.DIST_MASK_5)
    return float(depth[spots[:, 1] - top + 1, spots[:, 0] - left + 1].min() / depth.max())


def edge_share(mask: Mask) -> float:
    """The share of the picture's four edges under the mask. It is large for the background."""
    sides = mask[0], mask[-1], mask[:, 0], mask[:, -1]
    return sum(np.count_nonzero(side) / side.size for side in sides) / len(sides)
