"""How good a mask is, pure."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sam_backend.formats.mask import Mask

EDGE = 0.02  # of the image's diagonal: how wide the band along the edge is


def iou(mask: Mask, truth: Mask) -> float:
    union = int(np.count_nonzero(mask | truth))
    return int(np.count_nonzero(mask & truth)) / union if union else 1.0


def boundary_iou(mask: Mask, truth: Mask, share: float = EDGE) -> float:
    """The IoU of the bands inside both edges (Boundary IoU, CVPR 2021)."""
    width = max(1.0, share * float(np.hypot(*truth.shape)))
    return iou(_band(mask, width), _band(truth, width))


def clicks_to_reach(ious: Sequence[float], level: float, most: int) -> int:
    """How many clicks it took to reach an IoU (NoC); `most` if it never did."""
    reached = [number for number, value in enumerate(ious, start=1) if value >= level]
    return reached[0] if reached else most


def _band(mask: Mask, width: float) -> Mask:
    """The pixels of a mask that lie near its edge. The end of the image is an edge, too."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    band: Mask = (depth > 0) & (depth <= width)
    return band
