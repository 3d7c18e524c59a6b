"""The other side of `make everything-bench`: `segment_anything`'s automatic mask generator.

It reads the path of an image from each line of standard input, and writes the proposals beside the
image as packed bits, the best first. It answers with the seconds of clock time and processor time.
It runs in the environment of the benchmark's other back end (requirements/bench.txt).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from sam_backend.engines.torch_engine import import_torchvision

import_torchvision()


def _nms(boxes: Any, scores: Any, threshold: float) -> Any:
    """The boxes that overlap with no better box by more than the threshold."""
    order, kept = scores.argsort(descending=True), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        order = order[shared <= threshold * (areas[best] + areas[order] - shared)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64)


import torchvision  # noqa: E402
from mobile_sam import SamAutomaticMaskGenerator, sam_model_registry  # noqa: E402

torchvision.ops.boxes.nms = _nms


def main() -> None:
    checkpoint, folder, crops = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    model = sam_model_registry["vit_t"](checkpoint=checkpoint)
    model.eval()
    generator = SamAutomaticMaskGenerator(model, points_per_side=32, crop_n_layers=crops)
    for line in sys.stdin:
        image = cv2.imread(line.strip(), cv2.IMREAD_COLOR_RGB)
        started, busy = time.perf_counter(), time.process_time()
        found = generator.generate(image)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        found.sort(key=lambda proposal: -proposal["predicted_iou"])
        masks = np.array([proposal["segmentation"] for proposal in found[:100]], bool)
        path = folder / "peer.npy"
        np.save(path, np.packbits(masks.reshape(len(masks), -1), axis=1))
        print(json.dumps([seconds, busy]), flush=True)


if __name__ == "__main__":
    main()
