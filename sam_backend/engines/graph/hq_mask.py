"""The finer mask of SAM-HQ, in a decoder for clicks."""

from __future__ import annotations

import numpy as np
import onnx

from sam_backend.engines.graph.click_builder import FEATURES, GRID, SHAPE, Builder
from sam_backend.engines.graph.decoder_weights import WIDTH, DecoderWeights

_TOKEN = 5  # after the tokens of the score and of SAM's four masks
_CHANNELS, _INNER = WIDTH // 8, WIDTH // 4


def finer_mask(build: Builder, weights: DecoderWeights, queries: str, pixels: str) -> str:
    """(1, rows, columns), which is added to each mask of SAM.

    The token's kernel is first multiplied with the last convolution, which then has one channel.
    """
    token = build.part(queries, _TOKEN, _TOKEN + 1)
    for layer in range(3):
        token = build.linear(token, weights.linear(f"hf_mlp/layers.{layer}"))
        if layer < 2:
            token = build.op("Relu", token)
    taps, bias = weights.finer_taps()
    kernel = build.reshape(build.op("MatMul", token, build.constant(taps)), (_INNER, 9))
    features = _mask_features(build, weights, pixels)
    products = build.op("Transpose", build.op("MatMul", features, kernel), perm=[1, 0])
    products = build.op("Reshape", products, _of_image(build, 1, 9))
    # This moves each of the nine products to its place, and adds them.
    places = build.constant(np.eye(9).reshape(1, 9, 3, 3))
    moved = build.op("Conv", products, places, pads=[1, 1, 1, 1])
    finer = build.op("Cast", FEATURES, to=onnx.TensorProto.FLOAT)
    finer = build.op("MatMul", token, build.reshape(finer, (_CHANNELS, -1)))
    shift = build.op("MatMul", token, build.constant(bias.reshape(-1, 1)))
    finer = build.op("Reshape", build.op("Add", finer, shift), _of_image(build, 1))
    return build.op("Add", build.op("Reshape", moved, _of_image(build, 1)), finer)


def _mask_features(build: Builder, weights: DecoderWeights, pixels: str) -> str:
    """(rows * columns, 64) behind the first convolution, from pixels in the order of the tokens."""
    grid = build.part(GRID, 1, 7)
    grid = build.op("Concat", grid, build.constant([_CHANNELS], np.int64), axis=0)
    image = build.op("Reshape", pixels, grid)
    image = build.op("Transpose", image, perm=[6, 0, 2, 4, 1, 3, 5])
    image = build.op("Reshape", image, _of_image(build, 1, _CHANNELS))
    layer = [build.constant(array) for array in weights.finer_convolution()]
    image = build.op("Conv", image, *layer, pads=[1, 1, 1, 1])
    # Channels last, as OpenVINO's convolution has them: another order costs it more than the rest.
    features = build.reshape(build.op("Transpose", image, perm=[0, 2, 3, 1]), (-1, _INNER))
    features = build.norm(features, weights.norm_of_images("embedding_maskfeature.1"))
    return build.gelu(features)


def _of_image(build: Builder, *before: int) -> str:
    """The shape (…, rows, columns) in low-res pixels."""
    sides = build.part(SHAPE, 1, 3)
    return build.op("Concat", build.constant(before, np.int64), sides, axis=0)
