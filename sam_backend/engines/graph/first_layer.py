"""The decoder's first layer, with products that are computed once for each picture.

In the first layer, the image tokens are projected before any prompt has changed them. So their
keys, queries and values depend on the picture alone, and all its decodes share them. An earlier
mask adds a part of its own, which is small: it has 17 numbers for each token.
"""

from __future__ import annotations

import numpy as np
import onnx

from sam_backend.engines.frame import Floats
from sam_backend.engines.graph.click_attention import both_ways, by_head
from sam_backend.engines.graph.click_builder import (
    HALF_IMAGE,
    HEADS,
    KEYS,
    POSITION_CODES,
    QUERIES,
    VALUES,
    WEIGHTS,
    Builder,
)
from sam_backend.engines.graph.decoder_weights import WIDTH, DecoderWeights


def first_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """From HALF_IMAGE (n, 256) and POSITION_CODES (n, 256) to KEYS, QUERIES and VALUES.

    Their biases are left out, and so is what is added to the picture's tokens.
    """
    build, weights = Builder(), DecoderWeights(model.graph)
    to_image, from_image = both_ways(build, weights, layer=0)
    image = build.op("Cast", HALF_IMAGE, to=onnx.TensorProto.FLOAT)
    placed = build.op("Add", image, POSITION_CODES)
    for name, tokens, (weight, _), order in (
        (KEYS, placed, to_image.key, (1, 2, 0)),
        (QUERIES, placed, from_image.query, (1, 2, 0)),
        (VALUES, image, to_image.value, (1, 0, 2)),
    ):
        product = build.op("MatMul", tokens, build.constant(weight))
        product = build.op("Reshape", product, build.constant((0, HEADS, -1), np.int64))
        build.op("Transpose", product, perm=order, name=name)
    return build.model(model, (KEYS, QUERIES, VALUES))


class FirstLayer:
    """The attention of the first layer in both directions, without an earlier mask.

    `constant` (256,) is the embedding of a missing mask, which is added to each image token. Here
    it is added to biases instead.
    """

    def __init__(
        self, build: Builder, weights: DecoderWeights, image: str, constant: Floats
    ) -> None:
        self._build, self._image, self._constant = build, image, constant
        self._to, self._from = both_ways(build, weights, layer=0)

    def to_image(self, placed: str) -> str:
        """What prompt tokens (T, 256) get from the image tokens."""
        to, q = self._to, self._to.scaled(placed, self._to.query)
        scores = self._scores(q, KEYS, to.key[0])
        shares = self._build.op("Softmax", self._build.op("Add", scores, WEIGHTS), axis=-1)
        return to.attended(self._heads(shares), to.value[1] + self._constant @ to.value[0])

    def from_image(self, placed: str, tokens: str) -> str:
        """The image tokens (n, 256), to which is added what they get from the prompt tokens."""
        build, (weight, bias) = self._build, self._from.query
        k = self._from.scaled(placed, self._from.key)
        scores = self._scores(k, QUERIES, weight)
        scores = build.op("Add", scores, self._from.offset(k, bias + self._constant @ weight))
        return self._from.added(scores, self._image, tokens, self._from.out[1] + self._constant)

    def _scores(self, prompts: str, products: str, _projection: Floats) -> str:
        """(heads, T, n) of prompt tokens (heads, T, C) and the picture's keys or queries."""
        return self._build.op("MatMul", prompts, products)

    def _heads(self, shares: str) -> str:
        """(heads, T, C): what prompt tokens get from the picture's values."""
        return self._build.op("MatMul", shares, VALUES)


class FirstLayerOnMask(FirstLayer):
    """The same on an earlier mask: spots (n, 17) times a layer (17, 256) are added to the tokens.

    So few numbers for each token cost less than projections of the sum.
    """

    def __init__(
        self, build: Builder, weights: DecoderWeights, image: str, spots: str, layer: Floats
    ) -> None:
        super().__init__(build, weights, image, np.zeros(WIDTH, np.float32))
        self._spots, self._layer = spots, layer

    def _scores(self, prompts: str, products: str, projection: Floats) -> str:
        build, scores = self._build, super()._scores(prompts, products, projection)
        projected = build.constant(by_head(self._layer @ projection).transpose(0, 2, 1))
        own = build.reshape(build.op("MatMul", prompts, projected), (-1, len(self._layer)))
        own = build.op("Gemm", own, self._spots, transB=1)
        return build.op("Add", scores, build.op("Reshape", own, build.op("Shape", scores)))

    def _heads(self, shares: str) -> str:
        build, projection = self._build, self._to.value[0]
        own = build.op("Gemm", build.op("Flatten", shares, axis=2), self._spots)
        own = build.reshape(own, (HEADS, -1, len(self._layer)))
        own = build.op("MatMul", own, build.constant(by_head(self._layer @ projection)))
        return build.op("Add", super()._heads(shares), own)
