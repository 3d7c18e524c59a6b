"""Puts each click and the spot around it on the right side of a mask, and removes specks. Pure."""

from __future__ import annotations

import cv2
import numpy as np

from sam_backend.clicks import specks
from sam_backend.engines.frame import Floats, Indices
from sam_backend.formats.mask import Mask

SPECK = 0.01  # of the mask's area: smaller components and holes without a click are removed
SETTLED = 1.0  # the logit of an edited pixel


def claim(logits: Floats, spots: Indices, positive: Mask) -> None:
    """Give each click that is on the wrong side the spot around it, in place.

    The spot is at most a quarter as wide as the mask, and ends half-way to the nearest click of the
    other kind. It contains the pixels of this disc that the model finds as likely as the click.
    """
    for (x, y), inside in zip(spots, positive, strict=True):
        value = logits[y, x]
        if (value > 0) == inside:
            continue
        opposite = spots[positive != inside]
        half_way = np.hypot(*(opposite - [x, y]).T).min() / 2 if len(opposite) else np.inf
        limit = min(half_way, np.sqrt(np.count_nonzero(logits > 0)) / 4)
        reach = int(max(limit, 1.5)) + 1  # of an image, the rest would take longer than a decode
        top, left = max(0, y - reach), max(0, x - reach)
        near = logits[top : y + reach + 1, left : x + reach + 1]
        rows, columns = np.ogrid[: near.shape[0], : near.shape[1]]
        distance = np.hypot(columns + left - x, rows + top - y)
        alike = near >= value - 1 if inside else near <= value + 1
        # Next to the click, all pixels belong to the spot: scaling up would restore the old side.
        spot = (distance <= limit) & alike | (distance <= min(half_way, 1.5))
        _, labels = cv2.connectedComponents((spot & ((near > 0) != inside)).astype(np.uint8))
        near[labels == labels[y - top, x - left]] = SETTLED if inside else -SETTLED


def clean(logits: Floats, spots: Indices) -> None:
    """Remove the specks and pinholes that no click is in, in place."""
    specks.remove(logits, SPECK, SETTLED, spots)
