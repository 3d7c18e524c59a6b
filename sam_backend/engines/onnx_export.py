"""Writes the encoder and the decoder of a model as ONNX files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
import torch

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE
from sam_backend.engines.graph.reader import KIND, STABILITY
from sam_backend.engines.sam_export import Exportable
from sam_backend.engines.steps import step

OPSET = 17


def write(parts: Exportable, folder: Path, facts: dict[str, str]) -> None:
    """Both files, with some facts about the model."""
    facts = facts | {KIND: parts.kind}
    if parts.stability:
        facts[STABILITY] = " ".join(map(str, parts.stability))
    _export_encoder(parts, folder / "encoder.onnx", facts)
    _export_decoder(parts, folder / "decoder.onnx", facts)


def _export_encoder(parts: Exportable, path: Path, facts: dict[str, str]) -> None:
    with step("exporting the encoder"):
        blank = torch.zeros(1, 3, MODEL_SIDE, MODEL_SIDE)
        outputs = {"image_embeddings": parts.features, **parts.details}
        axes = {"image": {0: "images"}} if parts.any_batch else {}
        _export(parts.encoder, {"image": blank}, list(outputs), axes, path)
        _finish(path, facts, outputs)


def _export_decoder(parts: Exportable, path: Path, facts: dict[str, str]) -> None:
    points = parts.slots or 3
    inputs = {
        "image_embeddings": torch.zeros(parts.features),
        "point_coords": torch.full((1, points, 2), 100.0),
        "point_labels": torch.ones(1, points),
    }
    axes = {}
    if not parts.slots:
        inputs |= {
            "mask_input": torch.zeros(1, 1, LOW_RES_SIDE, LOW_RES_SIDE),
            "has_mask_input": torch.zeros(1),
        }
        axes = {"point_coords": {1: "points"}, "point_labels": {1: "points"}}
    inputs |= {name: torch.zeros(shape) for name, shape in parts.details.items()}
    outputs = {parts.masks: (1, parts.count, *parts.size), "iou_predictions": (1, parts.count)}
    if parts.object_score:
        outputs["object_score_logits"] = (1, 1)
    with step("exporting the decoder"):
        _export(parts.decoder, inputs, list(outputs), axes, path)
        _finish(path, facts, outputs)


def _export(
    module: Any, inputs: dict[str, Any], outputs: list[str], axes: dict[str, Any], path: Path
) -> None:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # about constants, and all shapes are constants here
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,  # the new exporter needs another package, onnxscript
        )


def _finish(path: Path, facts: dict[str, str], outputs: dict[str, tuple[int, ...]]) -> None:
    """Adds facts and output shapes to the file, and joins weights that were exported beside it."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, facts)
    for output in model.graph.output:  # a trace does not know all sizes of its outputs
        shape = outputs[output.name]
        output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, 1, shape))
    pieces = [file for file in path.parent.iterdir() if file.suffix not in (".onnx", ".data")]
    path.unlink()
    if pieces:  # over protobuf's limit of 2 GB, each tensor is exported to its own file
        onnx.save_model(model, path, save_as_external_data=True, location=path.name + ".data")
        for piece in pieces:
            piece.unlink()
    else:
        onnx.save_model(model, path)
