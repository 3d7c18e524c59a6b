"""Makes the nodes of a decoder for clicks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sam_backend.engines.frame import Floats
from sam_backend.engines.graph.decoder_weights import WIDTH

HEADS = 8  # of attention
# Further inputs: the decoded image tokens, their indices among the 4096, their positions, and the
# logarithm of the number of tokens that each one stands for. The first `used` of them are the image
# and get logits. The last two inputs give these numbers as shapes.
IMAGE, KEPT, POSITION_CODES, WEIGHTS = "image_tokens", "kept", "position_codes", "log_weights"
USED, GRID, SHAPE = "used", "logits_grid", "logits_shape"
LOGITS, SCORES = "logits", "scores"
# What depends on the picture alone in the decoder's first layer, see `first_layer`: keys and
# queries (heads, C, n), and values (heads, n, C), from the image tokens in half precision.
KEYS, QUERIES, VALUES = "first_keys", "first_queries", "first_values"
HALF_IMAGE = "half_image_tokens"
# SAM 2 adds the encoder's details to the image tokens when it scales them up: to four pixels of
# each token, and to sixteen. Here they are in the order of the tokens, in half precision.
FINER, FINEST = "finer_pixels", "finest_pixels"
# SAM-HQ adds its detail (1, 32, rows, columns) of the used part to its mask features.
FEATURES = "used_features"

_FULL, _HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


class Builder:
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

    def part(self, value: str, start: int, end: int) -> str:
        """The rows from `start` to `end`."""
        return self.op("Slice", value, *(self.constant([n], np.int64) for n in (start, end, 0)))

    def linear(self, value: str, layer: tuple[Floats, Floats]) -> str:
        # OpenVINO multiplies by rows (out, in). It would keep the weights in both orders.
        weight, bias = layer
        return self.op("Gemm", value, self.constant(weight.T), self.constant(bias), transB=1)

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
        """The form of exporters, which ONNX Runtime fuses into one operation."""
        error = self.op("Erf", self.op("Div", value, self.constant(np.sqrt(2))))
        product = self.op("Mul", value, self.op("Add", error, self.constant(1)))
        return self.op("Mul", product, self.constant(0.5))

    def by_head(self, value: str) -> str:
        """Tokens (N, C) as (heads, N, C / heads)."""
        split = self.op("Reshape", value, self.constant((0, HEADS, -1), np.int64))
        return self.op("Transpose", split, perm=[1, 0, 2])

    def joined(self, value: str, width: int) -> str:
        """(heads, N, C / heads) as tokens (N, C)."""
        return self.reshape(self.op("Transpose", value, perm=[1, 0, 2]), (-1, width))

    def model(self, source: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
        """The nodes as a model."""
        used = {name for node in self.nodes for name in node.input}
        made = [
            _value(IMAGE, _FULL, "n", WIDTH),
            _value(HALF_IMAGE, _HALF, "n", WIDTH),
            _value(KEPT, onnx.TensorProto.INT64, "n"),
            _value(POSITION_CODES, _FULL, "n", WIDTH),
            _value(KEYS, _FULL, HEADS, "c", "n"),
            _value(QUERIES, _FULL, HEADS, "c", "n"),
            _value(VALUES, _FULL, HEADS, "n", "c"),
            _value(WEIGHTS, _FULL, 1, "n"),
            _value(USED, onnx.TensorProto.INT64, 1),
            _value(GRID, onnx.TensorProto.INT64, 7),
            _value(SHAPE, onnx.TensorProto.INT64, 3),
            _value(FEATURES, _HALF, 1, WIDTH // 8, "rows", "columns"),
            _value(FINER, _HALF, "n4", WIDTH // 4),
            _value(FINEST, _HALF, "n16", WIDTH // 8),
        ]
        graph = helper.make_graph(
            self.nodes,
            "click_decoder",
            [value for value in (*made, *source.graph.input) if value.name in used],
            [helper.make_tensor_value_info(name, _FULL, None) for name in outputs],
            [t for t in source.graph.initializer if t.name in used] + self._constants,
        )
        return helper.make_model(
            graph, opset_imports=source.opset_import, ir_version=source.ir_version
        )


def _value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
