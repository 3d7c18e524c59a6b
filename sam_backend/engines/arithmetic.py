"""The runtime on which a part of a model computes, and the precision of its numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arithmetic:
    """What an encoder or a decoder is opened with."""

    runtime: str  # onnx or openvino
    precision: str  # f32, or bf16 with half as many bits

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"

    @classmethod
    def parse(cls, text: str) -> Arithmetic:
        """From what `str` makes of one. ValueError for anything else."""
        for known in (ONNX_F32, OPENVINO_F32, OPENVINO_BF16):
            if str(known) == text:
                return known
        raise ValueError(f"{text!r} is not an arithmetic")


ONNX_F32 = Arithmetic("onnx", "f32")
OPENVINO_F32 = Arithmetic("openvino", "f32")
OPENVINO_BF16 = Arithmetic("openvino", "bf16")
