"""The details of an embedding, as the decoder for clicks takes them. Pure.

SAM 2 has two, and SAM-HQ has one. Other models have none.
"""

from __future__ import annotations

import numpy as np

from sam_backend.engines.frame import LOW_RES_SIDE, Floats, Halves
from sam_backend.engines.graph.click_builder import FEATURES, FINER, FINEST
from sam_backend.engines.graph.decoder_weights import SIDE

Details = tuple[Halves, ...]
_SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "sam2": ((1, 32, LOW_RES_SIDE, LOW_RES_SIDE), (1, 64, LOW_RES_SIDE // 2, LOW_RES_SIDE // 2)),
    "hq": ((1, 32, LOW_RES_SIDE, LOW_RES_SIDE),),
}


def arranged(kind: str, details: Details) -> Details:
    """Details in the order in which decoding needs them, once for an image.

    For SAM 2: from (1, c, 256, 256) and (1, c, 128, 128) to (1, 1, pixels, c), token by token: the
    four parts of each token, and the four pixels of each part.
    """
    if kind != "sam2":
        return details
    finest, finer = (detail[0] for detail in details)
    by_pixel = finest.reshape(-1, SIDE, 2, 2, SIDE, 2, 2).transpose(1, 4, 2, 5, 3, 6, 0)
    by_part = finer.reshape(-1, SIDE, 2, SIDE, 2).transpose(1, 3, 2, 4, 0)
    return tuple(a.reshape(1, 1, -1, a.shape[-1]) for a in (by_pixel, by_part))


def inputs(kind: str, details: Details, used: tuple[int, int]) -> dict[str, Halves]:
    """Arranged details as inputs, for so many rows and columns of tokens."""
    if kind == "sam2":
        return {FINEST: details[0][0, 0], FINER: details[1][0, 0]}
    if kind == "hq":
        rows, columns = (4 * side for side in used)
        return {FEATURES: np.ascontiguousarray(details[0][:, :, :rows, :columns])}
    return {}


def used_tokens(kind: str, used: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tokens to decode, from the rows and columns that contain the image."""
    if kind != "hq":
        return used
    # Its convolutions see the neighbours of a pixel, beyond the edge of the image, too.
    return min(SIDE, used[0] + 1), min(SIDE, used[1] + 1)


def noise(kind: str, random: np.random.Generator) -> Details:
    """The details of some image, as an encoder gives them."""
    shapes = _SHAPES.get(kind, ())
    return tuple(random.normal(0, 0.3, shape).astype(np.float16) for shape in shapes)


def stabilise(logits: Floats, scores: Floats, limit: float, ratio: float) -> None:
    """Replaces the single mask of SAM 2, in place, by the best of the others if it is not stable.

    So does SAM 2's own predictor. See reader.STABILITY for the limit and the ratio.
    """
    certain, possible = (np.count_nonzero(logits[0] > edge) for edge in (limit, -limit))
    if possible and certain / possible < ratio:
        best = 1 + int(scores[1:].argmax())
        logits[0], scores[0] = logits[best], scores[best]
