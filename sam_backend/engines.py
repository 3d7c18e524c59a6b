"""Which model serves, from which files; checked before the port opens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx_sam import OnnxSam, check_files
from sam_backend.engine import Engine
from sam_backend.settings import Settings


@dataclass(frozen=True)
class EnginePlan:
    """A model to be opened. `model_version` is what Label Studio stores, constant over starts."""

    name: str
    model_version: str
    encoder: Path
    decoder: Path


def plan(settings: Settings) -> EnginePlan:
    is_onnx = settings.sam_choice == "ONNX"
    folder = settings.onnx_checkpoint if is_onnx else settings.mobilesam_checkpoint
    return EnginePlan(
        settings.sam_choice,
        f"{settings.sam_choice}-onnx",
        folder / "encoder.onnx",
        folder / "decoder.onnx",
    )


def check(chosen: EnginePlan) -> None:
    check_files(chosen.encoder, chosen.decoder)


def open_engine(chosen: EnginePlan) -> Engine:
    return OnnxSam(chosen.encoder, chosen.decoder, chosen.name)
