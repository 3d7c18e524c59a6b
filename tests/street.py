"""A picture with cars, vans and trees, for searches: which of them look alike is known."""

from __future__ import annotations

import numpy as np

from sam_backend.engines.frame import LOW_RES_SIDE, Floats
from sam_backend.engines.protocol import Embedding
from sam_backend.formats.pictures import Pixels
from tests.fakes import DiscEngine

RADIUS = 20  # pixels of the image, which is 400 x 300
CARS = [(60, 60), (200, 60), (340, 60), (60, 150)]
VANS = [(200, 150), (340, 150)]  # much like cars
TREES = [(60, 240), (200, 240), (340, 240)]
LOOKS = [(CARS, (1, 0, 0)), (VANS, (0.9, 0.44, 0)), (TREES, (0, 0, 1))]
STEP = LOW_RES_SIDE / 400


class Street(DiscEngine):
    """Sees the disc that a point lies in, or a speck where there is none."""

    def encode(self, image: Pixels) -> Embedding:
        features = np.zeros((1, 4, 64, 64), np.float32)
        features[:, 3] = 1
        rows, columns = (np.mgrid[:64, :64] + 0.5) * 4 / STEP
        for places, looks in LOOKS:
            for x, y in places:
                inside = np.hypot(columns - x, rows - y) < RADIUS
                features[0, :, inside] = (*looks, 0)
        return Embedding(features, 300, 400)

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        x, y = points[0] if box is None else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        rows, columns = np.mgrid[:LOW_RES_SIDE, :LOW_RES_SIDE]
        middle, radius = (x, y), 3.0
        for places, _ in LOOKS:
            for place in places:
                if np.hypot(place[0] - x, place[1] - y) < RADIUS:
                    middle, radius = place, RADIUS
        inside = np.hypot(columns / STEP - middle[0], rows / STEP - middle[1]) < radius
        logits = np.where(inside, np.float32(8), np.float32(-8))[None].repeat(4, axis=0)
        return logits, np.full(4, 0.9, np.float32)
