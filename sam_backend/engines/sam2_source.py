"""Reads SAM 2 and EdgeTAM for the converter."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sam_backend.engines import sam2_checkpoint, torch_engine
from sam_backend.engines.sam_export import Exportable
from sam_backend.engines.transformers_engine import TransformersSam, load
from sam_backend.engines.transformers_export import exportable
from sam_backend.errors import SettingsError
from sam_backend.installation import pip_install


def read(source: Path, name: str, size: str) -> tuple[TransformersSam, Exportable]:
    """The model of a folder of transformers, or of a checkpoint of SAM 2 or EdgeTAM."""
    need_transformers(name)
    if name == "EdgeTAM" and not importlib.util.find_spec("timm"):
        raise SettingsError(f"converting {name} needs timm: {pip_install('torch')}")
    torch_engine.import_torchvision()
    if source.is_dir():
        module = load(str(source))
    else:
        module = sam2_checkpoint.load(torch_engine.read(source, "cpu"), size)
    return TransformersSam(module, f"{name} in PyTorch", "cpu"), exportable(module)


def need_transformers(model: str) -> None:
    """SettingsError if transformers is not installed."""
    if not importlib.util.find_spec("transformers"):
        raise SettingsError(f"converting {model} needs transformers: {pip_install('transformers')}")
