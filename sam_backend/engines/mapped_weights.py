"""Moves the weights of a model on OpenVINO from memory to a temporary file.

OpenVINO prepares a copy of each weight for its products, and hardly reads the original after that.
What is mapped from a file can leave memory: the system reads it again when it is used.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile

import numpy as np
import openvino as ov
from openvino import opset13 as operations

_SMALL_BYTES = 4096
_MOST_BYTES = 512 << 20  # more would fill the folder for temporary files
_ALIGNED = 64  # bytes, as OpenVINO allocates

Values = np.ndarray[tuple[int], np.dtype[np.float32]]


def mapped(model: ov.Model) -> mmap.mmap | None:
    """Makes the model use a file that nobody else sees, and returns the mapping of it.

    None if there is no room for the file, or if the model has no weights to move.
    """
    weights = [op for op in model.get_ordered_ops() if _is_weight(op)]
    size = sum(weight.get_byte_size() for weight in weights)
    if not 0 < size <= _MOST_BYTES:
        return None
    by_columns = [_is_multiplied_by_columns(weight) for weight in weights]
    starts = []
    try:
        # The folder may be small and in memory, and other files need room there, too.
        if size > shutil.disk_usage(tempfile.gettempdir()).free // 2:
            return None
        with tempfile.TemporaryFile() as file:
            for weight, is_transposed in zip(weights, by_columns, strict=True):
                array = weight.data.T if is_transposed else weight.data
                starts.append(file.seek(-(-file.tell() // _ALIGNED) * _ALIGNED))
                file.write(np.ascontiguousarray(array).data)
            file.flush()
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError:
        return None
    for weight, is_transposed, start in zip(weights, by_columns, starts, strict=True):
        values = np.frombuffer(mapping, np.float32, weight.data.size, start)
        (_replace_transposed if is_transposed else _replace)(weight, values)
    model.validate_nodes_and_infer_types()
    return mapping


def _is_weight(op: ov.Node) -> bool:
    if op.get_type_name() != "Constant" or op.get_element_type() != ov.Type.f32:
        return False
    return int(op.get_byte_size()) >= _SMALL_BYTES


def _is_multiplied_by_columns(weight: ov.Node) -> bool:
    """Whether OpenVINO would transpose it, and keep that in memory: it multiplies by rows."""
    users = weight.output(0).get_target_inputs()
    return len(weight.shape) == 2 and all(
        user.get_index() == 1
        and user.get_node().get_type_name() == "MatMul"
        and not user.get_node().get_attributes()["transpose_b"]
        for user in users
    )


def _replace(weight: ov.Node, values: Values) -> None:
    """Replaces a weight by the values in the file."""
    constant = operations.constant(values.reshape(tuple(weight.shape)), shared_memory=True)
    weight.output(0).replace(constant.output(0))


def _replace_transposed(weight: ov.Node, values: Values) -> None:
    """Replaces the products with a weight by products with the transposed values in the file."""
    rows = values.reshape(tuple(weight.shape)[::-1])
    constant = operations.constant(rows, shared_memory=True)
    for product in [user.get_node() for user in weight.output(0).get_target_inputs()]:
        by_rows = operations.matmul(
            product.input_value(0), constant, product.get_attributes()["transpose_a"], True
        )
        by_rows.set_friendly_name(product.get_friendly_name())
        product.output(0).replace(by_rows.output(0))
