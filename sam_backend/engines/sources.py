"""Reads what is to be converted: a checkpoint, or a folder of transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sam_backend.engines import own_source, sam2_source, sam_export, torch_engine
from sam_backend.engines.protocol import Engine
from sam_backend.engines.recognise import Model, convertible, recognise_folder
from sam_backend.engines.weights import sha256
from sam_backend.errors import SettingsError

SAME_PARTS = {"MobileSAM": ", or TinySAM, which has the same parts"}


@dataclass(frozen=True)
class Source:
    """A model in PyTorch as an engine, and the parts of it that are exported."""

    name: str
    digest: str  # of the weights
    engine: Engine
    parts: sam_export.Exportable


def read(source: Path, fixed_size: tuple[int, int] | None) -> Source:
    """SettingsError if it cannot be converted."""
    if source.is_dir():
        model = recognise_folder(source)
    else:
        model = convertible(torch_engine.read(source, "meta"), source)
    print(f"  it is {model.name}{SAME_PARTS.get(model.name, '')}")
    if model.family == "sam":
        engine = torch_engine.TorchSam(source, model.name, "cpu")
        return Source(
            model.name, sha256(source), engine, sam_export.exportable(engine.sam, fixed_size)
        )
    if fixed_size:
        raise SettingsError(f"--fixed-size is for SAM and MobileSAM, not for {model.name}")
    return Source(model.name, _digest(source), *_opened(source, model))


def _opened(source: Path, model: Model) -> tuple[Engine, sam_export.Exportable]:
    if model.family in ("hq", "efficient", "efficientvit"):
        return own_source.read(source, model.name)
    return sam2_source.read(source, model.name, model.size)


def _digest(source: Path) -> str:
    """The SHA-256 of a checkpoint, or of a folder's weights."""
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else [source]
    return " ".join(map(sha256, files))
