"""The encoder's attention, with separate products for queries, keys and values.

Exports compute all three in one product and split it, which copies all of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sam_backend.engines.frame import Floats


def split_products(graph: onnx.GraphProto) -> None:
    """Rewrites, in place, each MatMul → Add → Reshape → Split with constant weights."""
    makers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        found = _product(node, makers, constants)
        if found is None:
            nodes.append(node)
            continue
        source, weight, bias, sizes = found
        heads, cuts = len(bias) // sum(sizes), np.cumsum(sizes)[:-1]
        weights = np.split(weight.reshape(len(weight), heads, -1), cuts, axis=2)
        biases = np.split(bias.reshape(heads, -1), cuts, axis=1)
        for output, own_weight, own_bias, size in zip(
            node.output, weights, biases, sizes, strict=True
        ):
            values = {
                f"{output}_weight": own_weight.reshape(len(weight), -1),
                f"{output}_bias": own_bias.ravel(),
                f"{output}_shape": np.array([0, 0, heads, size], np.int64),
            }
            graph.initializer.extend(
                numpy_helper.from_array(np.ascontiguousarray(value), name)
                for name, value in values.items()
            )
            named_weight, named_bias, shape = values
            product, added = f"{output}_product", f"{output}_added"
            nodes += [
                helper.make_node("MatMul", [source, named_weight], [product]),
                helper.make_node("Add", [product, named_bias], [added]),
                helper.make_node("Reshape", [added, shape], [output]),
            ]
    del graph.node[:]
    graph.node.extend(nodes)
    _leave_out_unused(graph)


def _leave_out_unused(graph: onnx.GraphProto) -> None:
    """Removes what no output needs: runtimes do not compute it, but may keep its weights."""
    used = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


def _product(
    split: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
) -> tuple[str, Floats, Floats, list[int]] | None:
    """The product that a Split divides, if it is one: its input, weight and bias, and the sizes."""
    sizes = [list(a.ints) for a in split.attribute if a.name == "split"]
    if split.op_type != "Split" or not sizes:
        return None
    chain = [split]
    for kind in ("Reshape", "Add", "MatMul"):
        made_by = [makers.get(name) for name in chain[-1].input]
        before = next((node for node in made_by if node and node.op_type == kind), None)
        if before is None:
            return None
        chain.append(before)
    *_, addition, product = chain
    weight, bias = (
        next((numpy_helper.to_array(constants[n]) for n in node.input if n in constants), None)
        for node in (product, addition)
    )
    if weight is None or bias is None or weight.shape[1:] != bias.shape:
        return None
    return product.input[0], weight, bias, sizes[0]
