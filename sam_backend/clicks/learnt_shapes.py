"""The shapes of kept masks, and how well another mask fits them. Pure.

Objects of one label in one project look alike: buildings from above are small and fill their boxes,
people do not. With two numbers of each mask that annotators kept, the back end prefers the similar
one among the four masks of a click.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.formats.mask import Mask

Figures = npt.NDArray[np.float64]  # (2,), see `figures`

# The number of first kept masks that count. Between these steps, the same click gets the same mask.
STEPS = (5, 10, 20, 40, 80)
LEAST, MOST = STEPS[0], STEPS[-1]

# How much the numbers usually differ among objects of one label, and as how many masks that counts.
_USUAL_SPREAD = np.array([0.9, 0.15])
_USUAL_COUNT = 3
_STRENGTH = 0.2  # below 1, because the numbers of a mask say little about its object


def figures(mask: Mask) -> Figures | None:
    """Two numbers of a low-res mask (h, w), without padding. None if it is empty.

    The logarithm of its share of the image, and how much of its box it fills.
    """
    area = int(np.count_nonzero(mask))
    if not area:
        return None
    _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return np.array([np.log(area / mask.size), area / (width * height)])


@dataclass(frozen=True)
class Learnt:
    """The common shape of the kept masks of one label."""

    count: int
    usual: Figures
    spread: Figures

    @classmethod
    def of(cls, kept: Sequence[Figures]) -> Learnt | None:
        """From the figures of kept masks, the oldest first. None if they are too few."""
        count = max((step for step in STEPS if step <= len(kept)), default=0)
        if not count:
            return None
        values = np.array(kept[:count], np.float64)
        usual = np.median(values, axis=0)
        squares = ((values - usual) ** 2).sum(axis=0)
        variance = (_USUAL_COUNT * _USUAL_SPREAD**2 + squares) / (_USUAL_COUNT + count)
        return cls(count, usual, np.sqrt(variance))

    @property
    def digest(self) -> bytes:
        """Equal for equal shapes."""
        return self.usual.tobytes() + self.spread.tobytes()

    def fit(self, mask: Mask) -> float:
        """How much a low-res mask (h, w), without padding, looks like the kept ones: 0 to 1."""
        found = figures(mask)
        if found is None:
            return 0.0
        away = (found - self.usual) / self.spread
        return float(np.exp(-_STRENGTH * (away**2).sum() / 2))
