"""What a rectangle says about the object: the object reaches all its sides. Pure."""

from __future__ import annotations

import numpy as np

from sam_backend.clicks import specks
from sam_backend.clicks.everything import overlap_of_boxes
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Facts
from sam_backend.formats.mask import tight_box

_FIT = 12  # the power of the overlap: people draw the sides of a rectangle exactly
_PART = 0.3  # the weight of the masks that are neither the single nor the whole object
_SPECK = 0.01  # of a mask's area: smaller parts do not count for its box
_LEAST = 1e-6  # of an overlap, so that the masks count where none fits


def weights(candidates: Floats, box: Floats, facts: Facts) -> Floats:
    """How much each of the four masks counts: four weights, of sum 1.

    The masks are low-res logits (4, h, w) without padding. The rectangle (4,) x0, y0, x1, y1 is in
    low-res pixels.
    """
    counts = np.full(len(candidates), _PART, np.float32)
    counts[[facts.single, facts.whole]] = 1
    boxes = np.array([_box(logits + np.float32(facts.box_doubt)) for logits in candidates])
    counts *= overlap_of_boxes(box, boxes) ** _FIT + _LEAST
    found: Floats = counts / counts.sum()
    return found


def _box(logits: Floats) -> Floats:
    """The box of a mask without its specks; one without an area if it is empty. In place."""
    specks.remove(logits, _SPECK, 1.0)
    return np.array(tight_box(logits > 0) or (0, 0, 0, 0), np.float32)
