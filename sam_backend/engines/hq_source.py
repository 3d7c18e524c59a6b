"""Reads SAM-HQ and Light HQ-SAM for the converter."""

from __future__ import annotations

from pathlib import Path

from sam_backend.engines import hq_model, torch_engine, transformers_engine
from sam_backend.engines.hq_checkpoint import of_transformers
from sam_backend.engines.sam2_source import need_transformers
from sam_backend.engines.sam_export import Exportable, hq_exportable
from sam_backend.engines.torch_engine import TorchEngine


def read(source: Path, name: str) -> tuple[TorchEngine, Exportable]:
    """The model of a folder of transformers, or of a checkpoint of its makers."""
    if source.is_dir():
        need_transformers(name)
        model = of_transformers(transformers_engine.load(str(source)))
    else:
        torch_engine.package("SAM-HQ")
        if name == "Light HQ-SAM":
            torch_engine.package(name)
        model = hq_model.load(torch_engine.read(source, "cpu"))
    return TorchEngine(model, f"{name} in PyTorch", "cpu", "hq"), hq_exportable(model)
