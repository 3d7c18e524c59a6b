"""The attention of the mask decoder, rebuilt for a handful of prompt tokens.

An exported decoder projects each of the 4096 image tokens to keys, values and queries in each
layer. Here the few prompt tokens are projected instead: (x W) · q = x · (W q).
"""

from __future__ import annotations

import numpy as np

from sam_backend.engines.frame import Floats
from sam_backend.engines.graph.click_builder import HEADS, POSITION_CODES, WEIGHTS, Builder
from sam_backend.engines.graph.decoder_weights import WIDTH, DecoderWeights


class Attention:
    """Makes the nodes of one attention of the decoder, which `path` names."""

    def __init__(self, build: Builder, weights: DecoderWeights, path: str) -> None:
        self._build = build
        self.query, self.key, self.value, self.out = (
            weights.linear(f"{path}/{name}_proj") for name in ("q", "k", "v", "out")
        )

    def among_prompts(self, placed: str, values: str) -> str:
        """Prompt tokens attend to each other."""
        build = self._build
        k = build.op("Transpose", build.by_head(build.linear(placed, self.key)), perm=[0, 2, 1])
        v = build.by_head(build.linear(values, self.value))
        scores = build.op("MatMul", self.scaled(placed, self.query), k)
        attended = build.op("MatMul", build.op("Softmax", scores, axis=-1), v)
        return build.linear(build.joined(attended, self._inner), self.out)

    def to_image(self, placed: str, placed_image: str, image: str) -> str:
        """Prompt tokens attend to image tokens.

        The keys' bias would add the same to all of them.
        """
        build = self._build
        keys = build.constant(by_head(self.key[0]).transpose(0, 2, 1))
        onto = build.op("MatMul", self.scaled(placed, self.query), keys)
        onto = build.reshape(onto, (-1, WIDTH))
        scores = build.op("Gemm", onto, placed_image, WEIGHTS, transB=1)
        shares = build.op("Softmax", scores, axis=-1)
        # Channels first: cores divide the rows among them, and there are few prompt tokens.
        heads = build.op("Gemm", image, shares, transA=1, transB=1)
        heads = build.op("Transpose", heads, perm=[1, 0])
        heads = build.reshape(heads, (HEADS, -1, WIDTH))
        heads = build.op("MatMul", heads, build.constant(by_head(self.value[0])))
        return self.attended(heads, self.value[1])

    def from_image(self, placed_image: str, image: str, placed: str, tokens: str) -> str:
        """Image tokens attend to prompt tokens. Returns the image tokens with the result added."""
        build = self._build
        k = self.scaled(placed, self.key)
        onto = build.op("MatMul", k, build.constant(by_head(self.query[0]).transpose(0, 2, 1)))
        onto = build.reshape(onto, (-1, WIDTH))
        offset = build.reshape(self.offset(k, self.query[1]), (-1, 1))
        # (heads * tokens, n): many softmaxes over a few numbers are fast only along the first axis.
        scores = build.op("Gemm", onto, placed_image, offset, transB=1)
        count = build.op("Shape", placed_image, start=0, end=1)
        shape = build.op("Concat", build.constant([HEADS, -1], np.int64), count, axis=0)
        return self.added(build.op("Reshape", scores, shape), image, tokens, self.out[1])

    @property
    def _inner(self) -> int:
        return int(self.value[0].shape[1])

    def scaled(self, tokens: str, layer: tuple[Floats, Floats]) -> str:
        """Projected tokens (heads, N, C). Their products with others need no further scale."""
        scale = np.float32(1 / np.sqrt(self._inner / HEADS))
        return self._build.by_head(self._build.linear(tokens, (layer[0] * scale, layer[1] * scale)))

    def attended(self, heads: str, bias: Floats) -> str:
        """The output for prompt tokens, from the values (heads, T, C) that they got."""
        build = self._build
        heads = build.op("Add", heads, build.constant(bias.reshape(HEADS, 1, -1)))
        return build.linear(build.joined(heads, self._inner), self.out)

    def offset(self, keys: str, bias: Floats) -> str:
        """What the bias of the image's queries adds to scores (heads, tokens, n)."""
        return self._build.op("MatMul", keys, self._build.constant(bias.reshape(HEADS, -1, 1)))

    def added(self, scores: str, image: str, tokens: str, bias: Floats) -> str:
        """Image tokens (n, 256) plus what scores (heads, T, n) give them of prompt tokens."""
        build = self._build
        shares = build.op("Flatten", build.op("Softmax", scores, axis=1), axis=2)
        v = build.by_head(build.linear(tokens, self.value))
        v = build.op("MatMul", v, build.constant(self.out[0].reshape(HEADS, -1, WIDTH)))
        # The weights of a head add up to one, so each head adds an eighth of the bias.
        v = build.op("Add", v, build.constant(bias / HEADS))
        return build.op("Gemm", shares, build.reshape(v, (-1, WIDTH)), image, transA=1)


def by_head(weight: Floats) -> Floats:
    """A projection's weight (C, inner) as (heads, C, inner / heads)."""
    split = weight.reshape(weight.shape[0], HEADS, -1)
    return np.ascontiguousarray(split.transpose(1, 0, 2))


def both_ways(build: Builder, weights: DecoderWeights, layer: int) -> tuple[Attention, Attention]:
    """The attention of a layer from prompt tokens to image tokens, and the one back."""
    to_image, from_image = (
        Attention(build, weights, f"layers.{layer}/cross_attn_{way}")
        for way in ("token_to_image", "image_to_token")
    )
    return to_image, from_image


class ImageLayer:
    """The attention of one layer between prompt tokens and image tokens, in both directions."""

    def __init__(self, build: Builder, weights: DecoderWeights, layer: int, image: str) -> None:
        self._to, self._from = both_ways(build, weights, layer)
        self._image, self._placed = image, build.op("Add", image, POSITION_CODES)

    def to_image(self, placed: str) -> str:
        """What prompt tokens (T, 256) get from the image tokens."""
        return self._to.to_image(placed, self._placed, self._image)

    def from_image(self, placed: str, tokens: str) -> str:
        """The image tokens (n, 256), to which is added what they get from the prompt tokens."""
        return self._from.from_image(self._placed, self._image, placed, tokens)
