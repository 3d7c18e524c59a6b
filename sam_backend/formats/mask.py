"""The mask: one bool for each pixel of a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]  # (H, W)
Box = tuple[int, int, int, int]  # left, top, right, bottom; pixels, the last two are outside


def tight_box(mask: Mask) -> Box | None:
    """The smallest box around the mask. None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
