"""The image encoder without the padding: its traced graph, rewritten for images of any size.

SAM's encoder takes a square. A 3:2 photo leaves a third of it empty, and encoding that costs as
much as encoding the photo. Exports of MobileSAM carry the square's size in the constants that
reshape image tokens into attention windows and back. Here these become inputs, so that the same
weights encode just the rectangle that holds the image; the caller fills the rest of the embedding.

A graph is only rewritten if each of these constants is found at its expected place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, TOKEN_SIDE
from sam_backend.engines.graph.attention import split_products

# The rectangle's sides are multiples of this, so that all strides divide them.
_STEP = 64


def used(pixels: int) -> int:
    """The number of rows or columns to encode, for a number of them that contain the image."""
    return min(MODEL_SIDE, -(-pixels // _STEP) * _STEP)


@dataclass(frozen=True)
class AnySizeEncoder:
    """The rewritten graph, and its further inputs for each image."""

    model: onnx.ModelProto
    sizes: tuple[Size, ...]

    def inputs(self, height: int, width: int) -> dict[str, npt.NDArray[np.int64]]:
        """The further inputs for an image of this size in the model's square."""
        return inputs(self.sizes, height, width)


def inputs(sizes: Sequence[Size], height: int, width: int) -> dict[str, npt.NDArray[np.int64]]:
    """The further inputs of a rewritten graph for an image of this size."""
    return {size.name: size.value(height, width) for size in sizes}


def any_size(model: onnx.ModelProto) -> AnySizeEncoder:
    """The encoder for images of any size. ValueError if the graph is unknown."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    side = MODEL_SIDE // TOKEN_SIDE
    _free(copy.graph.input[0], (3, MODEL_SIDE, MODEL_SIDE))
    features, *details = copy.graph.output
    _free(features, (256, side, side))
    for detail in details:
        _free(detail, (32, LOW_RES_SIDE, LOW_RES_SIDE))
    rewriter = _Rewriter(copy.graph)
    rewriter.run()
    split_products(copy.graph)
    copy.graph.input.extend(
        onnx.helper.make_tensor_value_info(size.name, onnx.TensorProto.INT64, size.shape)
        for size in rewriter.sizes
    )
    return AnySizeEncoder(copy, tuple(rewriter.sizes))


@dataclass(frozen=True)
class _Grid:
    """The rows and columns of a stage for one image, and its attention windows."""

    rows: int
    columns: int
    window: int

    @property
    def down(self) -> int:
        return -(-self.rows // self.window)

    @property
    def across(self) -> int:
        return -(-self.columns // self.window)

    @property
    def padded_rows(self) -> int:
        return self.down * self.window

    @property
    def padded_columns(self) -> int:
        return self.across * self.window


@dataclass(frozen=True)
class Size:
    """An input that replaces a constant."""

    name: str
    shape: tuple[int, ...]  # () or (n,)
    side: int  # rows and columns of the stage's grid for a whole square
    window: int
    numbers: Callable[[_Grid], Sequence[int]]

    def value(self, height: int, width: int) -> npt.NDArray[np.int64]:
        rows, columns = (self.side * pixels // MODEL_SIDE for pixels in (height, width))
        numbers = self.numbers(_Grid(rows, columns, self.window))
        return np.array(numbers, np.int64).reshape(self.shape)


class _Rewriter:
    """Walks the nodes in order. In an export, the nodes of an attention block are consecutive.

    The steps of a block: tokens → grid (rows, columns) → padded to whole windows → windows with
    attention → padded grid → grid → tokens → grid for a convolution.
    """

    _BLOCK = "grid pad split count count join padded cut cut conv"

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {
            node.output[0]: numpy_helper.to_array(node.attribute[0].t)
            for node in graph.node
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }
        self._side, self._window = 0, 1  # of the present block
        self._pad = onnx.NodeProto()
        self._steps: list[str] = []
        self._sizes: dict[str, Size] = {}

    @property
    def sizes(self) -> list[Size]:
        return list(self._sizes.values())

    def run(self) -> None:
        rules = {
            "Concat": self._concat,
            "Reshape": self._reshape,
            "Pad": self._remember_pad,
            "Mul": self._mul,
            "Slice": self._slice,
        }
        for node in self._graph.node:
            if node.op_type in rules:
                rules[node.op_type](node)
        # Between the stages and before the last convolutions, there is a grid without a block.
        rest = " ".join(self._steps).replace(self._BLOCK, "")
        self._expect("pad" in self._steps and set(rest.split()) <= {"grid"})

    def _concat(self, node: onnx.NodeProto) -> None:
        """Target shapes: a number if it was traced, None if it is computed from the tensor."""
        match [self._number(name) for name in node.input]:
            case [None, None, int(a), int(b)] if a == b == self._side:
                self._write(node, 2, "conv", "rows")
                self._write(node, 3, "", "columns")
            case [None, int(a), int(b), None] if a == b and self._steps[-1:] == ["join"]:
                self._expect(a == self._traced.padded_rows)
                self._write(node, 1, "padded", "padded_rows")
                self._write(node, 2, "", "padded_columns")
            case [None, int(a), int(b), None] if a == b:
                self._side = a
                self._write(node, 1, "grid", "rows")
                self._write(node, 2, "", "columns")
            case [None, int(n), int(w), int(m), int(v), None] if (n, w) == (m, v) and n != w:
                self._window = w
                self._expect(n == self._traced.down and self._steps[-1:] == ["pad"])
                self._pad.input[1] = self._input("ends", (8,), _ends)
                self._write(node, 1, "split", "down")
                self._write(node, 3, "", "across")
            case [None, int(n), int(m), int(w), int(v), None] if (n, w) == (m, v):
                self._expect((n, w) == (self._traced.down, self._window))
                self._write(node, 1, "join", "down")
                self._write(node, 2, "", "across")

    def _reshape(self, node: onnx.NodeProto) -> None:
        """A grid with a completely traced shape."""
        shape = self._constants.get(node.input[1])
        if shape is not None and shape.shape == (4,) and shape[0] == 1 and shape[1] == shape[2]:
            self._side, channels = int(shape[1]), int(shape[3])
            self._steps.append("grid")
            node.input[1] = self._input(
                f"grid_{channels}", (4,), lambda grid: (1, grid.rows, grid.columns, channels)
            )

    def _remember_pad(self, node: onnx.NodeProto) -> None:
        self._pad = node  # the amount follows from the windows
        self._steps.append("pad")

    def _mul(self, node: onnx.NodeProto) -> None:
        """The number of windows: batch times rows of windows, times windows in a row."""
        if self._steps[-1:] in (["split"], ["count"]) and self._number(node.input[1]):
            self._expect(self._number(node.input[1]) == self._traced.down)
            self._write(node, 1, "count", "across" if self._steps[-1] == "count" else "down")

    def _slice(self, node: onnx.NodeProto) -> None:
        """The slices that remove the padding, rows first."""
        if self._steps[-1:] in (["padded"], ["cut"]):
            axis = 2 if self._steps[-1] == "cut" else 1
            numbers = [self._number(name) for name in node.input[1:4]]
            self._expect(numbers == [0, self._side, axis])
            self._write(node, 2, "cut", "columns" if axis == 2 else "rows")

    @property
    def _traced(self) -> _Grid:
        return _Grid(self._side, self._side, self._window)

    def _number(self, name: str) -> int | None:
        value = self._constants.get(name)
        is_number = value is not None and value.dtype == np.int64 and value.size == 1
        return int(value.item()) if value is not None and is_number else None

    def _write(self, node: onnx.NodeProto, position: int, step: str, size: str) -> None:
        """Replaces a constant by an input, and records the step if it is new."""
        if step:
            self._steps.append(step)
        shape = self._constants[node.input[position]].shape
        node.input[position] = self._input(size, shape, lambda grid: [getattr(grid, size)])

    def _input(
        self, what: str, shape: tuple[int, ...], numbers: Callable[[_Grid], Sequence[int]]
    ) -> str:
        name = f"{what}_{self._side}_{self._window}_{len(shape)}"
        self._sizes[name] = Size(name, shape, self._side, self._window, numbers)
        return name

    def _expect(self, holds: bool) -> None:
        if not holds:
            raise ValueError(f"its attention is not MobileSAM's, step {len(self._steps)}")


def _ends(grid: _Grid) -> Sequence[int]:
    """The padding of (1, rows, columns, channels): none before, some after each axis."""
    below, right = grid.padded_rows - grid.rows, grid.padded_columns - grid.columns
    return 0, 0, 0, 0, 0, below, right, 0


def _free(value: onnx.ValueInfoProto, traced: tuple[int, int, int]) -> None:
    """Makes an input or output take one image of any height and width."""
    dims = value.type.tensor_type.shape.dim
    if [dim.dim_value for dim in dims][1:] != list(traced):
        raise ValueError(f"{value.name!r} does not have the size {traced}")
    for dim in dims:
        dim.ClearField("dim_param")
    dims[0].dim_value = 1
    for dim, name in zip(dims[2:], ("rows", "columns"), strict=True):
        dim.Clear()
        dim.dim_param = f"{value.name}_{name}"
