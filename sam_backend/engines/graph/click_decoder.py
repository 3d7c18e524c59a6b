"""The mask decoder of SAM, SAM-HQ or SAM 2, rebuilt from its weights for clicks.

It gives the same masks with half the arithmetic.

Its attention projects the few prompt tokens instead of the image tokens (`click_attention`). What
the first layer computes from the picture alone may be an input (`first_layer`). Two matrix products
replace the transposed convolutions that scale up, image tokens are never transposed, and
without an earlier mask the mask encoder is left out. The last attention is computed for the tokens
of the answer only.

A graph is not changed unless all its parts are found by their names.
"""

from __future__ import annotations

import numpy as np
import onnx

from sam_backend.engines.frame import Floats
from sam_backend.engines.graph import hq_mask
from sam_backend.engines.graph.click_attention import Attention, ImageLayer
from sam_backend.engines.graph.click_builder import (
    FINER,
    FINEST,
    GRID,
    IMAGE,
    KEPT,
    LOGITS,
    POSITION_CODES,
    SCORES,
    SHAPE,
    USED,
    Builder,
)
from sam_backend.engines.graph.decoder_weights import SIDE, WIDTH, DecoderWeights
from sam_backend.engines.graph.first_layer import FirstLayer, FirstLayerOnMask


def click_decoder(
    model: onnx.ModelProto, *, with_mask: bool, kind: str = "sam", with_products: bool = False
) -> onnx.ModelProto:
    """A decoder from image tokens (n, 256), points and labels to logits and scores.

    logits (4, 4 * used rows, 4 * used columns), scores (1, 4); `with_mask` adds the input
    mask_input (1, 1, 256, 256), `with_products` the outputs of `first_layer.first_products`, and
    `kind` (see protocol.KINDS) the inputs of the details.
    ValueError if the graph is not SAM's, KeyError if a part has another name.
    """
    weights = DecoderWeights(model.graph)
    build = Builder()
    prompt = weights.maker("layers.0/self_attn/q_proj/MatMul_output_0").input[0]
    reused = [prompt]
    if with_mask:
        reused.append(weights.mask_projection.input[0])
    build.nodes.extend(weights.needed(reused))
    tokens = build.reshape(prompt, (-1, WIDTH))
    first_layer = _first_layer(build, weights, with_mask=with_mask, with_products=with_products)
    of_sam2 = kind == "sam2"
    first = 1 if of_sam2 else 0  # SAM 2 has a token for the presence of an object before the others
    answer = first + 5 + (1 if kind == "hq" else 0)
    queries, image = _transformer(build, weights, tokens, first_layer, answer)
    _scores(build, weights, queries, first, of_sam2=of_sam2)
    kernels = _kernels(build, weights, queries, first + 1)
    pixels = _scaled_up(build, weights, image, of_sam2=of_sam2)
    if kind == "hq":
        finer = hq_mask.finer_mask(build, weights, queries, pixels)
        plain = _logits(build, kernels, pixels)
        build.op("Add", plain, finer, name=LOGITS)
    else:
        _logits(build, kernels, pixels, name=LOGITS)
    return build.model(model, (LOGITS, SCORES))


def _first_layer(
    build: Builder, weights: DecoderWeights, *, with_mask: bool, with_products: bool
) -> ImageLayer | FirstLayer:
    if with_mask:
        spots, layer = _mask_parts(build, weights)
        image = build.op("Gemm", spots, build.constant(layer), IMAGE)
        if with_products:
            return FirstLayerOnMask(build, weights, image, spots, layer)
    elif with_products:
        return FirstLayer(build, weights, IMAGE, weights.no_mask.ravel())
    else:
        image = build.op("Add", IMAGE, build.constant(weights.no_mask.reshape(1, WIDTH)))
    return ImageLayer(build, weights, 0, image)


def _mask_parts(build: Builder, weights: DecoderWeights) -> tuple[str, Floats]:
    """The inputs (n, 17) of the last layer of the mask encoder, and the layer (17, 256)."""
    projection = weights.mask_projection
    weight, bias = (weights.array(name) for name in projection.input[1:])
    width = weight.shape[1]
    spots = build.reshape(projection.input[0], (width, -1))
    spots = build.op("Transpose", spots, perm=[1, 0])
    # A column of ones adds the bias, so that one product is enough.
    ones = build.constant(np.ones((SIDE * SIDE, 1)))
    spots = build.op("Gather", build.op("Concat", spots, ones, axis=1), KEPT)
    return spots, np.concatenate((weight.reshape(-1, width).T, bias[None]))


def _transformer(
    build: Builder,
    weights: DecoderWeights,
    tokens: str,
    first_layer: ImageLayer | FirstLayer,
    answer: int,
) -> tuple[str, str]:
    """Two layers of attention in both directions, then once more from the tokens to the image.

    Returns the first `answer` tokens, and the image tokens.
    """
    queries, image = tokens, ""
    for layer in range(2):
        path = f"layers.{layer}"
        among = Attention(build, weights, f"{path}/self_attn")
        if layer == 0:
            queries = among.among_prompts(queries, queries)
        else:
            attended = among.among_prompts(build.op("Add", queries, tokens), queries)
            queries = build.op("Add", queries, attended)
        queries = build.norm(queries, weights.norm(f"{path}/norm1"))
        both_ways = first_layer if layer == 0 else ImageLayer(build, weights, layer, image)
        attended = both_ways.to_image(build.op("Add", queries, tokens))
        queries = build.norm(build.op("Add", queries, attended), weights.norm(f"{path}/norm2"))
        hidden = build.op("Relu", build.linear(queries, weights.linear(f"{path}/mlp/lin1")))
        hidden = build.linear(hidden, weights.linear(f"{path}/mlp/lin2"))
        queries = build.norm(build.op("Add", queries, hidden), weights.norm(f"{path}/norm3"))
        image = both_ways.from_image(build.op("Add", queries, tokens), queries)
        image = build.norm(image, weights.norm(f"{path}/norm4"))
    # No other tokens are needed further on.
    queries, tokens = (build.part(value, 0, answer) for value in (queries, tokens))
    placed_image = build.op("Add", image, POSITION_CODES)
    last = Attention(build, weights, "final_attn_token_to_image")
    attended = last.to_image(build.op("Add", queries, tokens), placed_image, image)
    queries = build.norm(build.op("Add", queries, attended), weights.norm("norm_final_attn"))
    return queries, image


def _scores(
    build: Builder, weights: DecoderWeights, queries: str, index: int, *, of_sam2: bool
) -> None:
    """The predicted IoUs of the masks."""
    token = build.part(queries, index, index + 1)
    for layer in range(3):
        token = build.linear(token, weights.linear(f"iou_prediction_head/layers.{layer}"))
        if layer < 2:
            token = build.op("Relu", token)
    build.op("Sigmoid" if of_sam2 else "Identity", token, name=SCORES)


def _kernels(build: Builder, weights: DecoderWeights, queries: str, start: int) -> str:
    """(4, 32): what each mask multiplies the pixels with."""
    kernels = build.reshape(build.part(queries, start, start + 4), (4, 1, WIDTH))
    for layer in range(3):
        pairs = [weights.linear(f"output_hypernetworks_mlps.{i}/layers.{layer}") for i in range(4)]
        kernels = build.op("MatMul", kernels, build.constant(np.stack([w for w, _ in pairs])))
        kernels = build.op("Add", kernels, build.constant(np.stack([[b] for _, b in pairs])))
        if layer < 2:
            kernels = build.op("Relu", kernels)
    return build.reshape(kernels, (4, -1))


def _scaled_up(build: Builder, weights: DecoderWeights, image: str, *, of_sam2: bool) -> str:
    """Sixteen pixels (16 n, 32) of each token of the image."""
    start, axis = (build.constant([0], np.int64) for _ in range(2))
    image = build.op("Slice", image, start, USED, axis)
    for layer, detail in ((0, FINER), (3, FINEST)):
        weight, bias = weights.upscaling(layer)
        # (in, out, 2, 2) as a product that computes the four pixels of a token together.
        flat = weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1)
        image = build.linear(image, (flat, np.tile(bias, 4)))
        image = build.reshape(image, (-1, weight.shape[1]))
        if of_sam2:
            whole = build.op("Cast", detail, to=onnx.TensorProto.FLOAT)
            image = build.op("Add", image, whole)
        if layer == 0:
            image = build.norm(image, weights.upscaling_norm())
        image = build.gelu(image)
    return image


def _logits(build: Builder, kernels: str, pixels: str, name: str = "") -> str:
    logits = build.op("Gemm", kernels, pixels, transB=1)
    logits = build.op("Reshape", logits, GRID)
    logits = build.op("Transpose", logits, perm=[0, 1, 3, 5, 2, 4, 6])
    return build.op("Reshape", logits, SHAPE, name=name)
