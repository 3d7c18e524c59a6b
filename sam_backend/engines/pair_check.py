"""Compares a pair of ONNX files with the model in PyTorch that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Frame
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import compare, iou, prompts, scene
from sam_backend.engines.protocol import Engine, prompt_points
from sam_backend.formats.pictures import Pixels


def lowest_iou(
    engine: Engine, folder: Path, picture: Pixels | None, fixed_size: tuple[int, int] | None
) -> float:
    """The lowest IoU of masks from the pair and from PyTorch, over all kinds of prompt."""
    # A square, because engines may treat padding differently.
    image = scene(MODEL_SIDE, MODEL_SIDE) if picture is None else picture
    pair = OnnxSam(folder / "encoder.onnx", folder / "decoder.onnx", "ONNX", "cpu")
    worst = compare(engine, pair, image)
    return min(worst, _finished(engine, folder, scene(*fixed_size))) if fixed_size else worst


def _finished(engine: Engine, folder: Path, image: Pixels) -> float:
    """The lowest IoU of the masks that the decoder itself scaled up. OnnxSam does not use them."""
    embedding = engine.encode(image)
    points, labels, _, _ = prompts(*image.shape[:2])["two points"]
    coordinates, codes = prompt_points(embedding.frame, points, labels, None)
    session = ort.InferenceSession(folder / "decoder.onnx", providers=["CPUExecutionProvider"])
    finished, _ = session.run(
        ["masks", "iou_predictions"],
        {
            "image_embeddings": embedding.features,
            "point_coords": coordinates,
            "point_labels": codes,
            "mask_input": np.zeros((1, 1, LOW_RES_SIDE, LOW_RES_SIDE), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
        },
    )
    logits, _ = engine.decode(embedding, points, labels)
    lowest = min(
        iou(Frame(*image.shape[:2]).upsample(mask), other)
        for mask, other in zip(logits, finished[0], strict=True)
    )
    print(f"  masks of {image.shape[1]} x {image.shape[0]}: IoU at least {lowest:.4f}")
    return lowest
