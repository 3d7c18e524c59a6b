"""Times the encoder with 8 bits beside f32 and bf16, and tells how far its embedding is off.

    python -m tools.bench.eight_bits FOLDER_OF_PICTURES

Seconds of the processor on one thread, in turn. The error is the deviation from the embedding in
f32, as a share of the spread of that embedding.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from PIL import Image

from sam_backend.engines.arithmetic import ONNX_F32, OPENVINO_BF16, OPENVINO_F32
from sam_backend.engines.frame import Frame
from sam_backend.engines.graph.any_size_encoder import AnySizeEncoder, any_size, used
from sam_backend.engines.protocol import model_input
from sam_backend.engines.sessions import open_session
from sam_backend.engines.trimmed_encoder import Array
from tools.folders import ROOT

ROUNDS = 7
TIMED = (192, 1024)  # rows and columns: what is left of a square shows the same
_OPSET = 13  # the first one with weights by channel


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, encoder: AnySizeEncoder, paths: Sequence[Path]) -> None:
        self._inputs = _inputs(encoder, paths)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._inputs, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    paths = sorted(parser.parse_args().folder.glob("*.jpg"))
    encoder = any_size(onnx.load(ROOT / "models/mobile_sam/encoder.onnx"))
    with tempfile.TemporaryDirectory() as name:
        quantised = Path(name) / "quantised.onnx"
        _quantise(encoder, paths, quantised)
        sessions = {
            "ONNX Runtime, f32": open_session(encoder.model, ONNX_F32, threads=1),
            "ONNX Runtime, 8 bits": open_session(quantised, ONNX_F32, threads=1),
            "OpenVINO, f32": open_session(encoder.model, OPENVINO_F32, threads=1),
            "OpenVINO, bf16": open_session(encoder.model, OPENVINO_BF16, threads=1),
            "OpenVINO, 8 bits and f32": open_session(quantised, OPENVINO_F32, threads=1),
            "OpenVINO, 8 bits and bf16": open_session(quantised, OPENVINO_BF16, threads=1),
        }
    part = next(_inputs(encoder, paths[:1], TIMED))
    found = {each: session.run(None, part)[0] for each, session in sessions.items()}
    exact = found["ONNX Runtime, f32"]
    times: dict[str, list[float]] = {each: [] for each in sessions}
    for _ in range(ROUNDS):
        for each, session in sessions.items():
            begin = time.process_time()
            session.run(None, part)
            times[each].append(1000 * (time.process_time() - begin))
    print("| | ms | error |\n|---|---|---|")
    for each, took in times.items():
        error = np.std(found[each] - exact) / np.std(exact)
        print(f"| {each} | {np.median(took):.0f} | {error:.2f} |")


def _quantise(encoder: AnySizeEncoder, paths: Sequence[Path], to: Path) -> None:
    """All products and convolutions: weights by channel, and activations by their range."""
    source = to.with_name("source.onnx")
    onnx.save(version_converter.convert_version(encoder.model, _OPSET), source)
    quantize_static(
        source,
        to,
        _Pictures(encoder, paths),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Gemm", "Conv"],
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
    )


def _inputs(
    encoder: AnySizeEncoder, paths: Sequence[Path], part: tuple[int, int] | None = None
) -> Iterator[dict[str, Array]]:
    """The inputs of the encoder for pictures, or for the upper part of them."""
    name = encoder.model.graph.input[0].name
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        if part is not None:
            pixels = pixels[: pixels.shape[1] * (part[0] - 1) // part[1]]
        height, width = part or [used(side) for side in Frame(*pixels.shape[:2]).scaled]
        yield {name: model_input(pixels, height, width), **encoder.inputs(height, width)}


if __name__ == "__main__":
    main()
