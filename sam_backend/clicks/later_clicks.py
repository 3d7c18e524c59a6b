"""The second click and later ones: from the last answer and four new masks to one mask.

Second click: it is decoded on top of the first answer, which may be a mask of another object. The
click says what was wrong there, see `second_click`. So one of four answers is the likeliest: the
single mask, the average of the four masks, or one of two averages with the last answer, with and
without more weight for the masks that overlap with the single one.

Each later click: it is decoded on top of the last answer, and the four masks are averaged with that
answer. So pixels far from the clicks change only if the model is certain.

A model that takes no earlier mask has another rule, see `without_feedback`.
"""

from __future__ import annotations

import numpy as np

from sam_backend.clicks import first_click, second_click, without_feedback
from sam_backend.engines.frame import Floats, Frame
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask

# Of the four new masks and the last answer. The single-mask token was trained on several clicks.
WEIGHTS = np.array([6, 3, 3, 3, 5], np.float32) / 20
# A decode gets the newest clicks only. The mask that it starts from contains the older ones, which
# keep their spots. Time and memory would grow with each click, and SAM was trained on eleven.
CLICKS_AT_ONCE = 24
MIXED = 0.7  # the score of an average of masks

Clicks = tuple[Floats, Floats, "Floats | None"]  # points (N, 2), labels (N,), and a box or None


def answered(
    engine: Engine, embedding: Embedding, clicks: Clicks, last: Floats, *, resumed: bool
) -> tuple[Floats, tuple[Floats, Floats]]:
    """The logits (256, 256) after the newest click, and the model's four masks and scores.

    `last` is the answer before it. `resumed` says that it began with an existing mask.
    """
    points, labels, box = clicks
    if not engine.facts.refines:
        asked = points, labels > 0, box
        return without_feedback.changed(engine, embedding, asked, last, resumed=resumed)
    single, limit = engine.facts.single, engine.facts.feedback_limit
    # Larger logits add no information, but dominate the mask encoder.
    feedback = np.clip(last, -limit, limit)
    newest = points[-CLICKS_AT_ONCE:], labels[-CLICKS_AT_ONCE:]
    decoded = engine.decode(embedding, *newest, box, feedback)
    every = np.concatenate((decoded[0], last[None]))
    if box is None and len(points) == 2:
        return _second(embedding.frame, clicks, every, decoded[1], single), decoded
    logits: Floats = np.tensordot(WEIGHTS / WEIGHTS.sum(), every, axes=1)
    return logits, decoded


def _second(frame: Frame, clicks: Clicks, every: Floats, scores: Floats, single: int) -> Floats:
    """The likeliest of four answers to the second click, from new masks and the last answer."""
    points, labels, _ = clicks
    weights = _agreement(frame.cut(every) > 0, single) * WEIGHTS
    vote = np.tensordot(weights / weights.sum(), every, axes=1)
    usual = np.tensordot(WEIGHTS / WEIGHTS.sum(), every, axes=1)
    answers = np.stack((every[single], every[:-1].mean(axis=0), vote, usual))
    masks = frame.cut(np.concatenate((every[:-1], answers[1:3]))) > 0
    likely = np.clip(np.append(scores, [MIXED, MIXED]), 0.01, 1) ** 2
    likely *= [(1 - first_click.edge_share(mask)) ** 2 for mask in masks]
    seen, spots = frame.cut(every[-1]) > 0, frame.spots(points)
    chances = second_click.chances(masks, likely, seen, spots, labels > 0)
    chosen: Floats = answers[second_click.best(frame.cut(answers) > 0, masks, chances)]
    return chosen


def _agreement(masks: Mask, which: int) -> Floats:
    """How much each of some masks (n, h, w) overlaps with the single one: 0 to 1."""
    single = masks[which]
    shared, union = ((masks & single).sum(axis=(1, 2)), (masks | single).sum(axis=(1, 2)))
    overlap: Floats = (shared / np.maximum(union, 1)).astype(np.float32)
    overlap[which] = 1  # also where it is empty
    return overlap
