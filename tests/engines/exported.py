"""Exported files, run as they are by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from sam_backend.engines.frame import Floats, Frame
from sam_backend.engines.protocol import prompt_points


def session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def prompt_inputs(
    frame: Frame,
    points: Floats,
    labels: Floats,
    box: Floats | None,
    mask: Floats | None,
    *,
    pads_boxes: bool = False,
) -> dict[str, Any]:
    """The inputs of a decoder, besides what the encoder made of the image."""
    coordinates, codes = prompt_points(frame, points, labels, box, pads_boxes=pads_boxes)
    return {
        "point_coords": coordinates,
        "point_labels": codes,
        "mask_input": np.zeros((1, 1, 256, 256), np.float32) if mask is None else mask[None, None],
        "has_mask_input": np.array([mask is not None], np.float32),
    }
