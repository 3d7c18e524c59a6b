"""Reads the models whose modules are defined in this package, for the converter."""

from __future__ import annotations

from pathlib import Path

from sam_backend.engines import (
    efficient_model,
    efficientvit_model,
    hq_model,
    sam_export,
    torch_engine,
    transformers_engine,
)
from sam_backend.engines.hq_checkpoint import of_transformers
from sam_backend.engines.sam2_source import need_transformers
from sam_backend.engines.torch_engine import TorchEngine


def read(source: Path, name: str) -> tuple[TorchEngine, sam_export.Exportable]:
    """The model of a folder of transformers, or of a checkpoint of its makers."""
    title = f"{name} in PyTorch"
    if name == "EfficientSAM":
        torch_engine.package(name)
        sam = efficient_model.load(torch_engine.read(source, "cpu"))
        return TorchEngine(sam, title, "cpu", "efficient"), sam_export.efficient_exportable(sam)
    if name == "EfficientViT-SAM":
        torch_engine.package(name)
        module = efficientvit_model.load(torch_engine.read(source, "cpu"))
        return TorchEngine(module, title, "cpu"), sam_export.exportable(module)
    if source.is_dir():
        need_transformers(name)
        model = of_transformers(transformers_engine.load(str(source)))
    else:
        torch_engine.package("SAM-HQ")
        if name == "Light HQ-SAM":
            torch_engine.package(name)
        model = hq_model.load(torch_engine.read(source, "cpu"))
    return TorchEngine(model, title, "cpu", "hq"), sam_export.hq_exportable(model)
