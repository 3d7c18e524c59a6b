"""SAM's mask decoder, rebuilt from its weights for clicks: the same masks with half the arithmetic.

An exported decoder projects each of the 4096 image tokens to keys, values and queries in each
layer, for a handful of prompt tokens. Here the few prompt tokens are projected instead:
(x W) · q = x · (W q). Upscaling by transposed convolutions becomes two matrix products, image
tokens are never transposed, and without an earlier mask its encoder is left out.

A graph whose parts are not all found under their names is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sam_backend.engine import Floats

_SIDE, _WIDTH, _HEADS = 64, 256, 8  # of the embedding; channels; attention heads
_EPSILON = 1e-5  # of the layer norms, if a node does not say
# Inputs beside the exported ones. Logits are made for the `used` rows and columns of the
# embedding only; the other two say the same in the shapes that reshaping needs.
IMAGE, USED, GRID, SHAPE = "image_tokens", "used", "logits_grid", "logits_shape"
LOGITS, SCORES = "logits", "scores"


def click_decoder(model: onnx.ModelProto, *, with_mask: bool) -> onnx.ModelProto:
    """A decoder from image tokens (4096, 256), points and labels to logits and scores.

    logits (4, 4 * used rows, 4 * used columns), scores (1, 4); `with_mask` adds the input
    mask_input (1, 1, 256, 256).
    ValueError if the graph is not SAM's, KeyError if a part has another name.
    """
    weights = _Weights(model.graph)
    build = _Builder()
    prompt = weights.maker("layers.0/self_attn/q_proj/MatMul_output_0").input[0]
    reused = [prompt]
    if with_mask:
        reused.append(weights.mask_embedding)
    build.nodes.extend(weights.needed(reused))
    tokens = build.reshape(prompt, (-1, _WIDTH))
    image = IMAGE
    if with_mask:
        dense = build.reshape(weights.mask_embedding, (_WIDTH, -1))
        image = build.op("Add", image, build.op("Transpose", dense, perm=[1, 0]))
    else:
        image = build.op("Add", image, build.constant(weights.no_mask.reshape(1, _WIDTH)))
    queries, image = _transformer(build, weights, tokens, image)
    _heads(build, weights, queries, image)
    return build.model(model, {name for node in build.nodes for name in node.input})


class _Weights:
    """The parts of an exported decoder by the names of their modules."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._makers = {output: node for node in graph.node for output in node.output}
        self._arrays = {tensor.name: tensor for tensor in graph.initializer}

    def maker(self, suffix: str) -> onnx.NodeProto:
        """The node that makes the output whose name ends so."""
        found = [node for name, node in self._makers.items() if name.endswith("/" + suffix)]
        if len(found) != 1:
            raise KeyError(suffix)
        return found[0]

    def array(self, name: str) -> Floats:
        return np.asarray(numpy_helper.to_array(self._arrays[name]), np.float32)

    def linear(self, path: str) -> tuple[Floats, Floats]:
        """Weight (in, out) and bias (out,) of a linear layer."""
        try:
            gemm = self.maker(f"{path}/Gemm_output_0")
        except KeyError:
            product = self.maker(f"{path}/MatMul_output_0")
            total = self.maker(f"{path}/Add_output_0")
            bias = next(name for name in total.input if name in self._arrays)
            return self.array(product.input[1]), self.array(bias)
        weight = self.array(gemm.input[1])
        return weight.T if _attribute(gemm, "transB", 0) else weight, self.array(gemm.input[2])

    def norm(self, path: str) -> tuple[Floats, Floats, float]:
        node = self.maker(f"{path}/LayerNormalization_output_0")
        epsilon = float(_attribute(node, "epsilon", _EPSILON))
        return self.array(node.input[1]), self.array(node.input[2]), epsilon

    def upscaling(self, layer: int) -> tuple[Floats, Floats]:
        """Weight (in, out, 2, 2) and bias of a transposed convolution."""
        node = self.maker(f"output_upscaling.{layer}/ConvTranspose_output_0")
        return self.array(node.input[1]), self.array(node.input[2])

    def upscaling_norm(self) -> tuple[Floats, Floats, float]:
        scale = self.maker("output_upscaling.1/Mul_output_0")
        shift = self.maker("output_upscaling.1/Add_1_output_0")
        weight, bias = (
            self.array(next(n for n in node.input if n in self._arrays)).ravel()
            for node in (scale, shift)
        )
        return weight, bias, 1e-6

    @property
    def no_mask(self) -> Floats:
        """What stands for the mask where there is none."""
        found = [
            name
            for node in self._graph.node
            if node.op_type == "Mul"
            for name in node.input
            if name in self._arrays and list(self._arrays[name].dims) == [1, _WIDTH, 1, 1]
        ]
        if len(found) != 1:
            raise KeyError("no_mask_embed")
        return self.array(found[0])

    @property
    def mask_embedding(self) -> str:
        return str(self.maker("mask_downscaling.6/Conv_output_0").output[0])

    @property
    def positions(self) -> Floats:
        """Sines and cosines of each image token's place (4096, 256)."""
        name = next(n for n in self._arrays if n.endswith("positional_encoding_gaussian_matrix"))
        steps = (np.arange(_SIDE, dtype=np.float32) + 0.5) / _SIDE * 2 - 1
        places = np.stack(np.meshgrid(steps, steps), axis=-1)  # x, y of each token
        angles = places @ self.array(name) * np.float32(2 * np.pi)
        both = np.concatenate((np.sin(angles), np.cos(angles)), axis=-1)
        return np.asarray(both, np.float32).reshape(-1, _WIDTH)

    def needed(self, outputs: Iterable[str]) -> list[onnx.NodeProto]:
        """The nodes that outputs depend on, in the graph's own order."""
        wanted, reached = list(outputs), set()
        while wanted:
            node = self._makers.get(wanted.pop())
            if node is not None and id(node) not in reached:
                reached.add(id(node))
                wanted.extend(node.input)
        return [node for node in self._graph.node if id(node) in reached]


class _Builder:
    """Makes nodes and names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def op(self, op_type: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"click_{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], **attributes))
        return output

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"click_constant_{len(self._constants)}"
        array: np.ndarray[Any, Any] = np.ascontiguousarray(np.asarray(value, dtype))
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def reshape(self, value: str, shape: Sequence[int], name: str = "") -> str:
        return self.op("Reshape", value, self.constant(shape, np.int64), name=name)

    def linear(self, value: str, layer: tuple[Floats, Floats]) -> str:
        return self.op("Gemm", value, self.constant(layer[0]), self.constant(layer[1]))

    def norm(self, value: str, layer: tuple[Floats, Floats, float]) -> str:
        weight, bias, epsilon = layer
        return self.op(
            "LayerNormalization",
            value,
            self.constant(weight),
            self.constant(bias),
            axis=-1,
            epsilon=epsilon,
        )

    def gelu(self, value: str) -> str:
        """As exporters write it, which ONNX Runtime makes one operation."""
        error = self.op("Erf", self.op("Div", value, self.constant(np.sqrt(2))))
        product = self.op("Mul", value, self.op("Add", error, self.constant(1)))
        return self.op("Mul", product, self.constant(0.5))

    def by_head(self, value: str) -> str:
        """Tokens (N, C) as (heads, N, C / heads)."""
        split = self.op("Reshape", value, self.constant((0, _HEADS, -1), np.int64))
        return self.op("Transpose", split, perm=[1, 0, 2])

    def joined(self, value: str, width: int) -> str:
        """(heads, N, C / heads) as tokens (N, C)."""
        return self.reshape(self.op("Transpose", value, perm=[1, 0, 2]), (-1, width))

    def model(self, source: onnx.ModelProto, used: set[str]) -> onnx.ModelProto:
        inputs = [value for value in source.graph.input if value.name in used]
        made = [
            helper.make_tensor_value_info(IMAGE, onnx.TensorProto.FLOAT, [_SIDE**2, _WIDTH]),
            helper.make_tensor_value_info(USED, onnx.TensorProto.INT64, [2]),
            helper.make_tensor_value_info(GRID, onnx.TensorProto.INT64, [7]),
            helper.make_tensor_value_info(SHAPE, onnx.TensorProto.INT64, [3]),
        ]
        graph = helper.make_graph(
            self.nodes,
            "click_decoder",
            made + inputs,
            [
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                for name in (LOGITS, SCORES)
            ],
            [t for t in source.graph.initializer if t.name in used] + self._constants,
        )
        return helper.make_model(
            graph, opset_imports=source.opset_import, ir_version=source.ir_version
        )


def _transformer(build: _Builder, weights: _Weights, tokens: str, image: str) -> tuple[str, str]:
    """Two layers of attention both ways, then once more from the tokens to the image."""
    positions = build.constant(weights.positions)
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
        placed_image = build.op("Add", image, positions)
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
    placed_image = build.op("Add", image, positions)
    placed = build.op("Add", queries, tokens)
    attended = _to_image(build, weights, "final_attn_token_to_image", placed, (placed_image, image))
    queries = build.op("Add", queries, attended)
    return build.norm(queries, weights.norm("norm_final_attn")), image


def _self_attention(build: _Builder, weights: _Weights, path: str, placed: str, values: str) -> str:
    query, key, value = (weights.linear(f"{path}/{name}_proj") for name in "qkv")
    scale = np.float32(1 / np.sqrt(query[0].shape[1] / _HEADS))
    q = build.by_head(build.linear(placed, (query[0] * scale, query[1] * scale)))
    k = build.op("Transpose", build.by_head(build.linear(placed, key)), perm=[0, 2, 1])
    v = build.by_head(build.linear(values, value))
    shares = build.op("Softmax", build.op("MatMul", q, k), axis=-1)
    attended = build.joined(build.op("MatMul", shares, v), value[0].shape[1])
    return build.linear(attended, weights.linear(f"{path}/out_proj"))


def _to_image(
    build: _Builder, weights: _Weights, path: str, queries: str, image: tuple[str, str]
) -> str:
    """Prompt tokens attend to image tokens; the keys' bias would be the same for all of them."""
    query, key, value = (weights.linear(f"{path}/{name}_proj") for name in "qkv")
    inner = query[0].shape[1]
    scale = np.float32(1 / np.sqrt(inner / _HEADS))
    q = build.by_head(build.linear(queries, (query[0] * scale, query[1] * scale)))
    onto = build.op("MatMul", q, build.constant(_by_head(key[0]).transpose(0, 2, 1)))
    onto = build.reshape(onto, (-1, _WIDTH))
    scores = build.op("Gemm", onto, image[0], transB=1)
    shares = build.op("Softmax", scores, axis=-1)
    seen = build.op(
        "Reshape",
        build.op("MatMul", shares, image[1]),
        build.constant((_HEADS, -1, _WIDTH), np.int64),
    )
    seen = build.op("MatMul", seen, build.constant(_by_head(value[0])))
    seen = build.op("Add", seen, build.constant(value[1].reshape(_HEADS, 1, -1)))
    return build.linear(build.joined(seen, inner), weights.linear(f"{path}/out_proj"))


def _from_image(
    build: _Builder,
    weights: _Weights,
    path: str,
    image: tuple[str, str],
    tokens: tuple[str, str],
) -> str:
    """Image tokens attend to prompt tokens; the image with what that adds."""
    query, key, value = (weights.linear(f"{path}/{name}_proj") for name in "qkv")
    out_weight, out_bias = weights.linear(f"{path}/out_proj")
    scale = np.float32(1 / np.sqrt(query[0].shape[1] / _HEADS))
    k = build.by_head(build.linear(tokens[0], (key[0] * scale, key[1] * scale)))
    onto = build.op("MatMul", k, build.constant(_by_head(query[0]).transpose(0, 2, 1)))
    onto = build.reshape(onto, (-1, _WIDTH))
    offset = build.op("MatMul", k, build.constant(query[1].reshape(_HEADS, -1, 1)))
    scores = build.op("Gemm", image[0], onto, build.reshape(offset, (1, -1)), transB=1)
    scores = build.op("Reshape", scores, build.constant((0, _HEADS, -1), np.int64))
    shares = build.op("Softmax", scores, axis=-1)
    shares = build.op("Reshape", shares, build.constant((0, -1), np.int64))
    v = build.by_head(build.linear(tokens[1], value))
    v = build.op("MatMul", v, build.constant(out_weight.reshape(_HEADS, -1, _WIDTH)))
    # The shares of a head add up to one, so each head brings an eighth of the bias.
    v = build.op("Add", v, build.constant(out_bias / _HEADS))
    return build.op("Gemm", shares, build.reshape(v, (-1, _WIDTH)), image[1])


def _heads(build: _Builder, weights: _Weights, queries: str, image: str) -> None:
    """The masks and their predicted IoUs."""
    first = build.op("Slice", queries, *(build.constant([n], np.int64) for n in (0, 1, 0)))
    for layer in range(3):
        first = build.linear(first, weights.linear(f"iou_prediction_head/layers.{layer}"))
        if layer < 2:
            first = build.op("Relu", first)
    build.op("Identity", first, name=SCORES)

    tokens = build.op("Slice", queries, *(build.constant([n], np.int64) for n in (1, 5, 0)))
    kernels = build.reshape(tokens, (4, 1, _WIDTH))
    for layer in range(3):
        pairs = [weights.linear(f"output_hypernetworks_mlps.{i}/layers.{layer}") for i in range(4)]
        kernels = build.op("MatMul", kernels, build.constant(np.stack([w for w, _ in pairs])))
        kernels = build.op("Add", kernels, build.constant(np.stack([[b] for _, b in pairs])))
        if layer < 2:
            kernels = build.op("Relu", kernels)
    kernels = build.reshape(kernels, (4, -1))

    image = build.reshape(image, (_SIDE, _SIDE, _WIDTH))
    start, axes = (build.constant(numbers, np.int64) for numbers in ((0, 0), (0, 1)))
    image = build.reshape(build.op("Slice", image, start, USED, axes), (-1, _WIDTH))
    for layer in (0, 3):
        weight, bias = weights.upscaling(layer)
        # (in, out, 2, 2) as a product that makes the four pixels of a token side by side.
        flat = weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1)
        image = build.linear(image, (flat, np.tile(bias, 4)))
        image = build.reshape(image, (-1, weight.shape[1]))
        if layer == 0:
            image = build.norm(image, weights.upscaling_norm())
        image = build.gelu(image)
    logits = build.op("Gemm", kernels, image, transB=1)
    logits = build.op("Reshape", logits, GRID)
    logits = build.op("Transpose", logits, perm=[0, 1, 3, 5, 2, 4, 6])
    build.op("Reshape", logits, SHAPE, name=LOGITS)


def _by_head(weight: Floats) -> Floats:
    """A projection's weight (C, inner) as (heads, C, inner / heads)."""
    split = weight.reshape(weight.shape[0], _HEADS, -1)
    return np.ascontiguousarray(split.transpose(1, 0, 2))


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    for attribute in node.attribute:
        if attribute.name == name:
            return float(helper.get_attribute_value(attribute))
    return default
