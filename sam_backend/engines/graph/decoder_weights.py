"""The weights of an exported SAM mask decoder, found by the names of their modules."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sam_backend.engines.frame import Floats

SIDE, WIDTH = 64, 256  # of the embedding: tokens on a side, channels
_EPSILON = 1e-5  # of the layer norms, if a node has none
# From SAM's names of modules to the names in transformers. There, the first and the last layer of a
# small network have names, and the ones between have numbers.
_BY_TRANSFORMERS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(^|/)norm(\d|_final_attn)", r"\1layer_norm\2"),
        (r"/out_proj", "/o_proj"),
        (r"/mlp/lin1", "/mlp/proj_in"),
        (r"/mlp/lin2", "/mlp/proj_out"),
        (r"(_head|_mlps\.\d)/layers\.0", r"\1/proj_in"),
        (r"(_head|_mlps\.\d)/layers\.1", r"\1/layers.0"),
        (r"(_head|_mlps\.\d)/layers\.2", r"\1/proj_out"),
        (r"output_upscaling\.0", "upscale_conv1"),
        (r"output_upscaling\.3", "upscale_conv2"),
        (r"mask_downscaling\.6", "conv3"),
    )
)


class DecoderWeights:
    """The parts of an exported decoder by the names of their modules."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._makers = {output: node for node in graph.node for output in node.output}
        self._by_end: dict[str, list[onnx.NodeProto]] = {}
        # The outputs of the graph have names of their own, so the names of nodes count, too.
        by_node = {f"{node.name}_output_0": node for node in graph.node if node.name}
        for name, node in (by_node | self._makers).items():
            parts = name.split("/")
            for start in range(1, len(parts)):
                self._by_end.setdefault("/".join(parts[start:]), []).append(node)
        self._by_transformers = any(end.startswith("upscale_conv1/") for end in self._by_end)
        self._arrays = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:  # exporters keep arrays of the same content once
            if node.op_type == "Identity" and node.input[0] in self._arrays:
                self._arrays[node.output[0]] = self._arrays[node.input[0]]

    def maker(self, suffix: str) -> onnx.NodeProto:
        """The node whose output has a name that ends like this."""
        name = suffix
        for pattern, replacement in _BY_TRANSFORMERS if self._by_transformers else ():
            name = pattern.sub(replacement, name)
        found = self._by_end.get(name, [])
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
        if self._by_transformers:
            return self.norm("upscale_layer_norm")
        return self.norm_of_images("output_upscaling.1")

    def norm_of_images(self, path: str) -> tuple[Floats, Floats, float]:
        """A norm over the channels of an image, which SAM itself writes out in small operations."""
        scale = self.maker(f"{path}/Mul_output_0")
        shift = self.maker(f"{path}/Add_1_output_0")
        weight, bias = (
            self.array(next(n for n in node.input if n in self._arrays)).ravel()
            for node in (scale, shift)
        )
        return weight, bias, 1e-6

    def finer_convolution(self) -> tuple[Floats, Floats]:
        """Weight (64, 32, 3, 3) and bias of the first convolution of SAM-HQ's mask features."""
        node = self.maker("embedding_maskfeature.0/Conv_output_0")
        return self.array(node.input[1]), self.array(node.input[2])

    def finer_taps(self) -> tuple[Floats, Floats]:
        """Weight (32, 64 * 9) and bias (32,) of the second one."""
        shape = [WIDTH // 8, WIDTH // 4 * 9]
        found = [name for name, tensor in self._arrays.items() if list(tensor.dims) == shape]
        biases = [name for name in self._arrays if name.endswith("embedding_maskfeature.3.bias")]
        if len(found) != 1 or len(biases) != 1:
            raise KeyError("embedding_maskfeature.3")
        return self.array(found[0]), self.array(biases[0])

    @property
    def no_mask(self) -> Floats:
        """The embedding that stands for a missing mask."""
        found = [
            name
            for node in self._graph.node
            if node.op_type == "Mul"
            for name in node.input
            if name in self._arrays and list(self._arrays[name].dims) == [1, WIDTH, 1, 1]
        ]
        if len(found) != 1:
            raise KeyError("no_mask_embed")
        return self.array(found[0])

    @property
    def mask_projection(self) -> onnx.NodeProto:
        """The last layer of the mask encoder, as a product for each token."""
        return self.maker("mask_downscaling.6/Conv_output_0")

    @property
    def position_codes(self) -> Floats:
        """The position encoding (4096, 256) of the image tokens: sines and cosines."""
        for known, tensor in self._arrays.items():
            if list(tensor.dims[-3:]) == [WIDTH, SIDE, SIDE]:  # computed when it was exported
                return np.ascontiguousarray(self.array(known).reshape(WIDTH, -1).T)
        name = next(n for n in self._arrays if n.endswith("positional_encoding_gaussian_matrix"))
        steps = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1
        places = np.stack(np.meshgrid(steps, steps), axis=-1)  # x, y of each token
        angles = places @ self.array(name) * np.float32(2 * np.pi)
        both = np.concatenate((np.sin(angles), np.cos(angles)), axis=-1)
        return np.asarray(both, np.float32).reshape(-1, WIDTH)

    def needed(self, outputs: Iterable[str]) -> list[onnx.NodeProto]:
        """The nodes that outputs depend on, in the graph's own order."""
        wanted, reached = list(outputs), set()
        while wanted:
            node = self._makers.get(wanted.pop())
            if node is not None and id(node) not in reached:
                reached.add(id(node))
                wanted.extend(node.input)
        return [node for node in self._graph.node if id(node) in reached]


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    for attribute in node.attribute:
        if attribute.name == name:
            return float(helper.get_attribute_value(attribute))
    return default
