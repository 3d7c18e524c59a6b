"""The mask decoder of SAM, SAM-HQ or SAM 2, rebuilt from its weights for clicks.

It gives the same masks with half the arithmetic.

An exported decoder projects each of the 4096 image tokens to keys, values and queries in each
layer, for a handful of prompt tokens. Here the few prompt tokens are projected instead:
(x W) · q = x · (W q). Two matrix products replace the transposed convolutions that scale up, image
tokens are never transposed, and without an earlier mask the mask encoder is left out.

A graph is not changed unless all its parts are found by their names.
"""

from __future__ import annotations

import numpy as np
import onnx

from sam_backend.engines.frame import Floats
from sam_backend.engines.graph import hq_mask
from sam_backend.engines.graph.click_builder import (
    FINER,
    FINEST,
    GRID,
    HEADS,
    IMAGE,
    KEPT,
    LOGITS,
    POSITION_CODES,
    SCORES,
    SHAPE,
    USED,
    WEIGHTS,
    Builder,
)
from sam_backend.engines.graph.decoder_weights import SIDE, WIDTH, DecoderWeights


def click_decoder(model: onnx.ModelProto, *, with_mask: bool, kind: str = "sam") -> onnx.ModelProto:
    """A decoder from image tokens (n, 256), points and labels to logits and scores.

    logits (4, 4 * used rows, 4 * used columns), scores (1, 4); `with_mask` adds the input
    mask_input (1, 1, 256, 256), and `kind` (see protocol.KINDS) the
    inputs of the details.
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
    if with_mask:
        image = _with_mask(build, weights)
    else:
        image = build.op("Add", IMAGE, build.constant(weights.no_mask.reshape(1, WIDTH)))
    queries, image = _transformer(build, weights, tokens, image)
    of_sam2 = kind == "sam2"
    first = 1 if of_sam2 else 0  # SAM 2 has a token for the presence of an object before the others
    _scores(build, weights, queries, first, of_sam2=of_sam2)
    kernels = _kernels(build, weights, queries, first + 1)
    pixels = _scaled_up(build, weights, image, of_sam2=of_sam2)
    if kind == "hq":
        finer = hq_mask.finer_mask(build, weights, queries, pixels)
        plain = _logits(build, kernels, pixels)
        build.op("Add", plain, finer, name=LOGITS)
    else:
        _logits(build, kernels, pixels, name=LOGITS)
    return build.model(model, {name for node in build.nodes for name in node.input})


def _with_mask(build: Builder, weights: DecoderWeights) -> str:
    """The image tokens plus the output of the last layer of the mask encoder."""
    projection = weights.mask_projection
    weight, bias = (weights.array(name) for name in projection.input[1:])
    width = weight.shape[1]
    spots = build.reshape(projection.input[0], (width, -1))
    spots = build.op("Transpose", spots, perm=[1, 0])
    # A column of ones adds the bias, so that one product is enough.
    ones = build.constant(np.ones((SIDE * SIDE, 1)))
    spots = build.op("Gather", build.op("Concat", spots, ones, axis=1), KEPT)
    layer = np.concatenate((weight.reshape(-1, width).T, bias[None]))
    return build.op("Gemm", spots, build.constant(layer), IMAGE)


def _transformer(
    build: Builder, weights: DecoderWeights, tokens: str, image: str
) -> tuple[str, str]:
    """Two layers of attention in both directions, then once more from the tokens to the image."""
    queries = tokens
    for layer in range(2):
        path = f"layers.{layer}"
        if layer == 0:
            queries = _self_attention(build, weights, f"{path}/self_attn", queries, queries)
        else:
            placed = build.op("Add", queries, tokens)
            attended = _self_attention(build, weights, f"{path}/self_attn", placed, queries)
            queries = build.op("Add", queries, attended)
        queries = build.norm(queries, weights.norm(f"{path}/norm1"))
        placed_image = build.op("Add", image, POSITION_CODES)
        placed = build.op("Add", queries, tokens)
        attended = _to_image(
            build, weights, f"{path}/cross_attn_token_to_image", placed, (placed_image, image)
        )
        queries = build.norm(build.op("Add", queries, attended), weights.norm(f"{path}/norm2"))
        hidden = build.op("Relu", build.linear(queries, weights.linear(f"{path}/mlp/lin1")))
        hidden = build.linear(hidden, weights.linear(f"{path}/mlp/lin2"))
        queries = build.norm(build.op("Add", queries, hidden), weights.norm(f"{path}/norm3"))
        placed = build.op("Add", queries, tokens)
        image = _from_image(
            build,
            weights,
            f"{path}/cross_attn_image_to_token",
            (placed_image, image),
            (placed, queries),
        )
        image = build.norm(image, weights.norm(f"{path}/norm4"))
    placed_image = build.op("Add", image, POSITION_CODES)
    placed = build.op("Add", queries, tokens)
    attended = _to_image(build, weights, "final_attn_token_to_image", placed, (placed_image, image))
    queries = build.op("Add", queries, attended)
    return build.norm(queries, weights.norm("norm_final_attn")), image


def _self_attention(
    build: Builder, weights: DecoderWeights, path: str, placed: str, values: str
) -> str:
    query, key, value = (weights.linear(f"{path}/{name}_proj") for name in "qkv")
    scale = np.float32(1 / np.sqrt(query[0].shape[1] / HEADS))
    q = build.by_head(build.linear(placed, (query[0] * scale, query[1] * scale)))
    k = build.op("Transpose", build.by_head(build.linear(placed, key)), perm=[0, 2, 1])
    v = build.by_head(build.linear(values, value))
    shares = build.op("Softmax", build.op("MatMul", q, k), axis=-1)
    attended = build.joined(build.op("MatMul", shares, v), value[0].shape[1])
    return build.linear(attended, weights.linear(f"{path}/out_proj"))


def _to_image(
    build: Builder, weights: DecoderWeights, path: str, queries: str, image: tuple[str, str]
) -> str:
    """Prompt tokens attend to image tokens. The keys' bias would add the same to all of them."""
    query, key, value = (weights.linear(f"{path}/{name}_proj") for name in "qkv")
    inner = query[0].shape[1]
    scale = np.float32(1 / np.sqrt(inner / HEADS))
    q = build.by_head(build.linear(queries, (query[0] * scale, query[1] * scale)))
    onto = build.op("MatMul", q, build.constant(_by_head(key[0]).transpose(0, 2, 1)))
    onto = build.reshape(onto, (-1, WIDTH))
    scores = build.op("Gemm", onto, image[0], WEIGHTS, transB=1)
    shares = build.op("Softmax", scores, axis=-1)
    # Channels first: cores divide the rows among them, and there are few prompt tokens.
    heads = build.op("Gemm", image[1], shares, transA=1, transB=1)
    heads = build.op("Transpose", heads, perm=[1, 0])
    heads = build.reshape(heads, (HEADS, -1, WIDTH))
    heads = build.op("MatMul", heads, build.constant(_by_head(value[0])))
    heads = build.op("Add", heads, build.constant(value[1].reshape(HEADS, 1, -1)))
    return build.linear(build.joined(heads, inner), weights.linear(f"{path}/out_proj"))


def _from_image(
    build: Builder,
    weights: DecoderWeights,
    path: str,
    image: tuple[str, str],
    tokens: tuple[str, str],
) -> str:
    """Image tokens attend to prompt tokens. Returns the image tokens with the result added."""
    query, key, value = (weights.linear(f"{path}/{name}_proj") for name in "qkv")
    out_weight, out_bias = weights.linear(f"{path}/out_proj")
    scale = np.float32(1 / np.sqrt(query[0].shape[1] / HEADS))
    k = build.by_head(build.linear(tokens[0], (key[0] * scale, key[1] * scale)))
    onto = build.op("MatMul", k, build.constant(_by_head(query[0]).transpose(0, 2, 1)))
    onto = build.reshape(onto, (-1, WIDTH))
    offset = build.op("MatMul", k, build.constant(query[1].reshape(HEADS, -1, 1)))
    # (heads * tokens, n): many softmaxes over a few numbers are fast only along the first axis.
    scores = build.op("Gemm", onto, image[0], build.reshape(offset, (-1, 1)), transB=1)
    count = build.op("Shape", image[0], start=0, end=1)
    by_head = build.op("Concat", build.constant([HEADS, -1], np.int64), count, axis=0)
    shares = build.op("Softmax", build.op("Reshape", scores, by_head), axis=1)
    shares = build.op("Flatten", shares, axis=2)
    v = build.by_head(build.linear(tokens[1], value))
    v = build.op("MatMul", v, build.constant(out_weight.reshape(HEADS, -1, WIDTH)))
    # The weights of a head add up to one, so each head adds an eighth of the bias.
    v = build.op("Add", v, build.constant(out_bias / HEADS))
    return build.op("Gemm", shares, build.reshape(v, (-1, WIDTH)), image[1], transA=1)


def _scores(
    build: Builder, weights: DecoderWeights, queries: str, index: int, *, of_sam2: bool
) -> None:
    """The predicted IoUs of the masks."""
    token = build.op(
        "Slice", queries, *(build.constant([n], np.int64) for n in (index, index + 1, 0))
    )
    for layer in range(3):
        token = build.linear(token, weights.linear(f"iou_prediction_head/layers.{layer}"))
        if layer < 2:
            token = build.op("Relu", token)
    build.op("Sigmoid" if of_sam2 else "Identity", token, name=SCORES)


def _kernels(build: Builder, weights: DecoderWeights, queries: str, start: int) -> str:
    """(4, 32): what each mask multiplies the pixels with."""
    tokens = build.op(
        "Slice", queries, *(build.constant([n], np.int64) for n in (start, start + 4, 0))
    )
    kernels = build.reshape(tokens, (4, 1, WIDTH))
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


def _by_head(weight: Floats) -> Floats:
    """A projection's weight (C, inner) as (heads, C, inner / heads)."""
    split = weight.reshape(weight.shape[0], HEADS, -1)
    return np.ascontiguousarray(split.transpose(1, 0, 2))
