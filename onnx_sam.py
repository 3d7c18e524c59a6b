"""SAM on ONNX Runtime: an encoder, and a decoder cut open so that all four masks come out."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError

from sam_backend.click_decoder import open_click_decoder
from sam_backend.encoder import open_encoder, used_tokens
from sam_backend.engine import (
    LOW_RES_SIDE,
    Embedding,
    Floats,
    Pixels,
    prompt_points,
    to_model_frame,
)
from sam_backend.errors import SettingsError

PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)

# Counts the ways in which images were encoded so far: another way makes other embeddings.
_ENCODING = 2

_DECODER_INPUTS = ("image_embeddings", "point_coords", "point_labels", "mask_input")
# What exported decoders do between the four masks and the one that they return.
_CHOOSING = ("Unsqueeze", "Reshape", "Gather", "GatherND", "Flatten", "Slice")


class OnnxSam:
    """Encoder and decoder sessions, all safe to share between threads; no image is kept."""

    def __init__(self, encoder: Path, decoder: Path, name: str) -> None:
        self.name = name
        content = encoder.read_bytes()
        # Names weights and preprocessing: embeddings on disk are kept under it.
        self.fingerprint = f"onnx-{_ENCODING}:{sha256(content).hexdigest()}"
        self._encoder = open_encoder(_read(encoder), _session)
        model = _read(decoder)
        self._decoder = _session(four_mask_decoder(_read(decoder)))
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._click = open_click_decoder(model, _session, self._decode)

    def encode(self, image: Pixels) -> Embedding:
        scaled = to_model_frame(image)
        normalised = (scaled - PIXEL_MEAN) / PIXEL_STD
        features = self._encoder.encode(normalised)
        return Embedding(features, height=image.shape[0], width=image.shape[1])

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        coordinates, codes = prompt_points(embedding, points, labels, box)
        if self._click is None:
            return self._decode(embedding.features, coordinates, codes, mask_input)
        used = used_tokens(embedding.height, embedding.width)
        return self._click.decode(embedding.features, used, coordinates, codes, mask_input)

    def _decode(
        self, features: Floats, coordinates: Floats, codes: Floats, mask_input: Floats | None
    ) -> tuple[Floats, Floats]:
        """By the decoder as it was exported."""
        mask = np.zeros((1, 1, LOW_RES_SIDE, LOW_RES_SIDE), np.float32)
        if mask_input is not None:
            mask[0, 0] = mask_input
        logits, scores = self._decoder.run(
            self._outputs,
            {
                "image_embeddings": features,
                "point_coords": coordinates,
                "point_labels": codes,
                "mask_input": mask,
                "has_mask_input": np.array([mask_input is not None], np.float32),
            },
        )
        return logits[0], scores[0]


def check_files(encoder: Path, decoder: Path) -> None:
    """SettingsError if the pair is missing, unreadable or not SAM's. Starts no session."""
    if not any(node.op_type in ("Conv", "ConvInteger") for node in _read(encoder).graph.node):
        raise SettingsError(f"{encoder} is not an image encoder")
    try:
        four_mask_decoder(_read(decoder))
    except ValueError as error:
        raise SettingsError(f"{decoder} is not a decoder that can be used: {error}") from None


def four_mask_decoder(model: onnx.ModelProto) -> onnx.ModelProto:
    """The decoder, cut before it chooses one mask and scales it up.

    Its outputs are then the logits (1, 4, 256, 256) and scores (1, 4) of all mask tokens.
    ValueError says what is missing.
    """
    graph = model.graph
    have = {value.name for value in graph.input}
    lacking = [name for name in _DECODER_INPUTS if name not in have]
    if lacking:
        raise ValueError(f"it has no input {', '.join(lacking)}")
    makers = {output: node for node in graph.node for output in node.output}
    outputs = [_before_choice(makers, name) for name in ("low_res_masks", "iou_predictions")]
    nodes = _needed(graph, makers, outputs)
    used = {name for node in nodes for name in node.input}
    cut = onnx.helper.make_graph(
        nodes,
        "sam_decoder",
        [value for value in graph.input if value.name in used],
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
        [tensor for tensor in graph.initializer if tensor.name in used],
    )
    return onnx.helper.make_model(
        cut, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _before_choice(makers: dict[str, onnx.NodeProto], output: str) -> str:
    """The tensor of all masks (or scores) from which an output is one."""
    name, chosen = output, False
    while (node := makers.get(name)) is not None and node.op_type in _CHOOSING:
        if chosen and node.op_type == "Reshape":
            break  # the reshape that makes the masks, not one that undoes the choice
        chosen = chosen or node.op_type.startswith("Gather")
        name = node.input[0]
    if name == output or not chosen:
        raise ValueError(f"output {output!r} is not one of several masks")
    return name


def _needed(
    graph: onnx.GraphProto, makers: dict[str, onnx.NodeProto], outputs: list[str]
) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, in the graph's own order."""
    wanted, reached = list(outputs), set()
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and id(node) not in reached:
            reached.add(id(node))
            wanted.extend(node.input)
    return [node for node in graph.node if id(node) in reached]


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist: ./download_models.sh fetches it") from None
    except (OSError, DecodeError, ValueError) as error:
        raise SettingsError(f"{path} is not a readable ONNX file: {error}") from None
    if not model.graph.node:
        raise SettingsError(f"{path} is not a readable ONNX file: it holds no graph")
    return model


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # exported graphs warn about their own constants
    # Threads that wait in a loop for the next operation take the cores from other annotators'
    # clicks, and from Label Studio where it runs beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
