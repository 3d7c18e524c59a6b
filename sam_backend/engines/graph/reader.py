"""Finds out from its graph what an ONNX file can do, and cuts the decoder if possible.

People's decoders come from the official script, from samexporter (with the same names), from
transformers.js, from MobileSAM's browser demos and from onnx_converter.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from sam_backend.engines.frame import MODEL_SIDE
from sam_backend.errors import SettingsError

OFFICIAL_INPUTS = ("image_embeddings", "point_coords", "point_labels", "mask_input")
_FURTHER_INPUTS = ("has_mask_input", "orig_im_size")
TRANSFORMERS_INPUTS = ("image_embeddings", "input_points", "input_labels")
# A fact in files of `engines.converter`: the kind of model: a key of protocol.KINDS.
KIND = "prepared_as"
WITHOUT_MASK_INPUT = "efficient"  # the kind of EfficientSAM
# Two more, of SAM 2: the single mask is stable if the areas where its logits are above a limit, and
# above minus this limit, have at least this ratio. Otherwise it is replaced.
STABILITY = "stability_limit_and_ratio"
POSITIONS = "image_positional_embeddings"

# The operations of exported decoders between the four masks and the one that they return.
_CHOOSING = ("Unsqueeze", "Reshape", "Gather", "GatherND", "Flatten", "Slice")
# The operations that scale it up to the image. The sizes are never the first input.
_SCALING = ("Resize", "Slice", "Identity", "Cast")
_PIXELS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.UINT8: "uint8",
}


_Makers = dict[str, onnx.NodeProto]  # by the name of each tensor, the node that makes it


@dataclass(frozen=True)
class Encoder:
    """An image encoder's input."""

    image_input: str
    dtype: str
    raw: bool  # it takes an image (h, w, 3), and normalises and pads it itself
    size: tuple[int, int] | None  # height and width, if a raw image must have a fixed size


@dataclass(frozen=True)
class Decoder:
    """A decoder, cut to the outputs that are needed."""

    model: onnx.ModelProto
    masks: str  # (1, n, 256, 256) logits, or (1, n, height, width) where full_size
    scores: str  # (1, n)
    full_size: bool  # it only gives masks at the size of the image
    size: tuple[int, int] | None  # height and width, if it was made for images of one size
    inputs: frozenset[str]
    details: tuple[str, ...] = ()  # inputs that take the encoder's further outputs
    kind: str = "sam"  # of model: a key of protocol.KINDS
    stability: tuple[float, float] | None = None  # see STABILITY

    @property
    def by_transformers(self) -> bool:
        """Whether it has transformers.js's inputs: no rectangle, no mask, one more axis."""
        return "input_points" in self.inputs

    def without_graph(self) -> Decoder:
        """The rest of it. With a session open, the graph would only take memory."""
        return replace(self, model=onnx.ModelProto())


def read_encoder(path: Path) -> Encoder:
    """SettingsError if the file is not an encoder for SAM."""
    graph = read(path, weights=False).graph
    made = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in made]
    convolves = any(node.op_type in ("Conv", "ConvInteger", "QLinearConv") for node in graph.node)
    if len(inputs) != 1 or not convolves:
        raise SettingsError(f"{path} is not an image encoder")
    value, shape = inputs[0], _shape(inputs[0])
    dtype = _PIXELS.get(value.type.tensor_type.elem_type)
    raw = len(shape) == 3 and shape[2] in (3, None)
    square = len(shape) == 4 and all(
        size in (None, wanted)
        for size, wanted in zip(shape, (1, 3, MODEL_SIDE, MODEL_SIDE), strict=True)
    )
    if dtype is None or not (raw or square):
        raise SettingsError(
            f"{path} takes {'x'.join(map(str, shape))}, not an image of SAM: "
            f"1x3x{MODEL_SIDE}x{MODEL_SIDE}, or height x width x 3"
        )
    height, width = shape[:2]
    size = (height, width) if raw and height and width else None
    return Encoder(value.name, dtype, raw, size)


def read_decoder(path: Path) -> Decoder:
    """SettingsError if the file is not a decoder that can be used."""
    try:
        return open_decoder(read(path))
    except ValueError as error:
        raise SettingsError(f"{path} is not a decoder that can be used: {error}") from None


def open_decoder(model: onnx.ModelProto) -> Decoder:
    """The decoder, cut before it chooses one mask and scales it up, if the place is found.

    ValueError names missing parts.
    """
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    inputs, outputs = [v.name for v in graph.input], {v.name: v for v in graph.output}
    if "input_points" in inputs:
        _demand(TRANSFORMERS_INPUTS, inputs, "input")
        _demand(("pred_masks", "iou_scores"), outputs, "output")
        return _all_masks(model, makers, "pred_masks", "iou_scores", choice="Slice")
    facts = {fact.key: fact.value for fact in model.metadata_props}
    if facts.get(KIND) == WITHOUT_MASK_INPUT:
        _demand(OFFICIAL_INPUTS[:3], inputs, "input")
        _demand(("low_res_masks", "iou_predictions"), outputs, "output")
        whole = _cut(model, makers, "low_res_masks", "iou_predictions")
        return replace(whole, kind=WITHOUT_MASK_INPUT)
    _demand(OFFICIAL_INPUTS, inputs, "input")
    _demand(("iou_predictions",), outputs, "output")
    details = tuple(name for name in inputs if name not in (*OFFICIAL_INPUTS, *_FURTHER_INPUTS))
    if details:
        _demand(("low_res_masks",), outputs, "output")
        whole = _cut(model, makers, "low_res_masks", "iou_predictions")
        numbers = [float(number) for number in facts.get(STABILITY, "").split()]
        stability = (numbers[0], numbers[1]) if len(numbers) == 2 else None
        kind = facts.get(KIND, "sam")
        return replace(whole, details=details, kind=kind, stability=stability)
    if "low_res_masks" in outputs:
        return _all_masks(model, makers, "low_res_masks", "iou_predictions", choice="Gather")
    _demand(("masks",), outputs, "output")
    low_res = _before_scaling(makers, "masks")
    if low_res:
        return _all_masks(model, makers, low_res, "iou_predictions", choice="Gather")
    height, width = _shape(outputs["masks"])[-2:]
    size = (height, width) if height and width else None
    return _cut(model, makers, "masks", "iou_predictions", full_size=True, size=size)


def with_half_inputs(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The model with these inputs in half precision: the runtime converts them on all cores."""
    if not names:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        for index, name in enumerate(node.input):
            if name in names:
                node.input[index] = f"{name}_whole"
    for value in copy.graph.input:
        if value.name in names:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    casts = [
        onnx.helper.make_node("Cast", [name], [f"{name}_whole"], to=onnx.TensorProto.FLOAT)
        for name in names
    ]
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def part_for(path: Path, name: str) -> onnx.ModelProto:
    """The part of a graph that makes one output."""
    model = read(path)
    makers = {output: node for node in model.graph.node for output in node.output}
    return _part(model, makers, [name])


def read(path: Path, *, weights: bool = True) -> onnx.ModelProto:
    """SettingsError if the file is missing or damaged."""
    try:
        model = onnx.load(path, load_external_data=weights)
    except FileNotFoundError as error:
        lost = error.filename or path
        raise SettingsError(f"{lost} does not exist: ./download_models.sh fetches it") from None
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise SettingsError(_unreadable(path, " ".join(str(error).split()))) from None
    if not model.graph.node:
        raise SettingsError(_unreadable(path, "it holds no graph"))
    return model


def _unreadable(path: Path, problem: str) -> str:
    return (
        f"{path} is not a readable ONNX file ({problem}): delete it and run ./download_models.sh, "
        "or convert it again"
    )


def _all_masks(
    model: onnx.ModelProto, makers: _Makers, masks: str, scores: str, choice: str
) -> Decoder:
    """The decoder, cut before the choice. If that is impossible, it is used without a cut."""
    try:
        return _cut(
            model,
            makers,
            _before_choice(makers, masks, choice),
            _before_choice(makers, scores, choice),
        )
    except ValueError:
        return _cut(model, makers, masks, scores)


def _cut(
    model: onnx.ModelProto,
    makers: _Makers,
    masks: str,
    scores: str,
    *,
    full_size: bool = False,
    size: tuple[int, int] | None = None,
) -> Decoder:
    part = _part(model, makers, [masks, scores])
    inputs = frozenset(value.name for value in part.graph.input)
    return Decoder(part, masks, scores, full_size, size, inputs)


def _part(model: onnx.ModelProto, makers: _Makers, outputs: list[str]) -> onnx.ModelProto:
    graph = model.graph
    nodes = _needed(graph, makers, outputs)
    used = {name for node in nodes for name in _reads(node)} | set(outputs)
    part = onnx.helper.make_graph(
        nodes,
        "part_of_sam",
        [value for value in graph.input if value.name in used],
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
        [tensor for tensor in graph.initializer if tensor.name in used],
    )
    return onnx.helper.make_model(
        part,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        functions=model.functions,
    )


def _before_choice(makers: _Makers, output: str, choice: str) -> str:
    """The tensor of all masks (or scores) from which an output was chosen."""
    name, chosen = output, False
    while (node := makers.get(name)) is not None and node.op_type in _CHOOSING:
        if chosen and node.op_type == "Reshape":
            break  # the reshape that makes the masks, not the one after the choice
        chosen = chosen or node.op_type.startswith(choice)
        name = node.input[0]
    if name == output or not chosen:
        raise ValueError(f"output {output!r} is not one of several masks")
    return name


def _before_scaling(makers: _Makers, output: str) -> str | None:
    """The low-res masks behind a scaled output, if they are found in the graph."""
    name, scaled = output, False
    while (node := makers.get(name)) is not None and node.op_type in _SCALING:
        scaled = scaled or node.op_type == "Resize"
        name = node.input[0]
    return name if scaled else None


def _needed(graph: onnx.GraphProto, makers: _Makers, outputs: list[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, in the graph's own order."""
    wanted, reached = list(outputs), set()
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and id(node) not in reached:
            reached.add(id(node))
            wanted.extend(_reads(node))
    return [node for node in graph.node if id(node) in reached]


def _reads(node: onnx.NodeProto) -> list[str]:
    """All tensors that a node needs, including the tensors of its branches (If, Loop)."""
    names = list(node.input)
    for attribute in node.attribute:
        for branch in (attribute.g, *attribute.graphs):
            for inner in branch.node:
                names.extend(_reads(inner))
            names.extend(value.name for value in branch.output)
    return names


def _demand(names: Sequence[str], have: Collection[str], kind: str) -> None:
    lacking = [name for name in names if name not in have]
    if lacking:
        raise ValueError(f"it has no {kind} {', '.join(lacking)}")


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    return [d.dim_value or None for d in value.type.tensor_type.shape.dim]
