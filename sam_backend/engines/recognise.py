"""Recognises a model by the names and shapes of its weights, or by a config.json of transformers.

Nothing is guessed from the name of a file. Fine-tuned weights keep the names and shapes of the
model that they began as.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sam_backend.errors import SettingsError

Shapes = Mapping[str, tuple[int, ...]]
Family = Literal["sam", "sam2", "hq", "efficient", "efficientvit", "transformers"]

# What a transformers config.json calls the models that can be converted → our name of each, and
# the part of the converter.
# SAM 2 and EdgeTAM are published as models for videos, which contain the model for images.
OF_TRANSFORMERS: dict[str, tuple[str, Family]] = {
    "sam2": ("SAM 2", "transformers"),
    "sam2_video": ("SAM 2", "transformers"),
    "edgetam": ("EdgeTAM", "transformers"),
    "edgetam_video": ("EdgeTAM", "transformers"),
    "sam_hq": ("SAM-HQ", "hq"),
}
# Known to transformers, but not converted. docs/models.md says why.
_ONLY_IN_TRANSFORMERS = {"sam": "SAM"}

# The parts of a SAM and of a SAM 2, by the beginnings of their weights' names.
_PARTS = {"image_encoder", "prompt_encoder", "mask_decoder"}
_PARTS |= {"sam_prompt_encoder", "sam_mask_decoder", "memory_encoder", "memory_attention"}

_TINY_VIT = "image_encoder.patch_embed.seq.0.c.weight"
_VIT = "image_encoder.patch_embed.proj.weight"
_REPVIT = "image_encoder.trunk.body."
_HIERA = "image_encoder.trunk.patch_embed.proj.weight"
_VIT_SIZES = {768: "B", 1024: "L", 1280: "H"}
# What only other models have.
_OTHERS: dict[str, tuple[str, Family]] = {
    "prompt_encoder.bbox_top_left_embeddings.": ("EfficientSAM", "efficient"),
    "image_encoder.backbone.": ("EfficientViT-SAM", "efficientvit"),
}
# Width of the first stage, and number of blocks → size of a Hiera.
_HIERA_SIZES = {(96, 12): "tiny", (96, 16): "small", (112, 24): "base_plus", (144, 48): "large"}


@dataclass(frozen=True)
class Model:
    """What a checkpoint is, and the part of the converter that reads it. None: no part does."""

    name: str
    family: Family | None
    size: str = ""  # of a SAM 2. EdgeTAM has one size


def recognise(weights: Shapes) -> Model | None:
    """The model whose weights have these names and shapes, or None."""
    if any(name.startswith(("image_encoder.trunk.", "sam_mask_decoder.")) for name in weights):
        return _sam2(weights)
    if "mask_decoder.transformer.layers.0.self_attn.q_proj.weight" not in weights:
        return None
    for mark, (name, family) in _OTHERS.items():
        if any(weight.startswith(mark) for weight in weights):
            return Model(name, family)
    size = "tiny" if _TINY_VIT in weights else _VIT_SIZES.get(weights.get(_VIT, (0,))[0], "")
    if "mask_decoder.hf_token.weight" in weights:
        is_known = size or _VIT in weights  # of any width: the shapes tell the rest
        name = "Light HQ-SAM" if size == "tiny" else f"SAM-HQ-{size}".rstrip("-")
        return Model(name, "hq" if is_known else None)
    names = {"tiny": "MobileSAM", "": ""}
    name = names.get(size, f"SAM-{size}")
    return Model(name, "sam") if name else None


def _sam2(weights: Shapes) -> Model:
    # The image part of SAM 2.1 is that of SAM 2. Its memory has this one more.
    version = "2.1" if "no_obj_embed_spatial" in weights else "2"
    if any(name.startswith(_REPVIT) for name in weights):
        return Model("EdgeTAM", "sam2")
    prefix = "image_encoder.trunk.blocks."
    blocks = {name.removeprefix(prefix).split(".")[0] for name in weights if prefix in name}
    size = _HIERA_SIZES.get((weights.get(_HIERA, (0,))[0], len(blocks)), "")
    return Model(f"SAM {version} {size}".rstrip(), "sam2" if size else None, size)


def recognise_folder(folder: Path) -> Model:
    """The model in a folder of transformers. SettingsError if it cannot be converted."""
    config = folder / "config.json"
    try:
        kind = json.loads(config.read_text())["model_type"]
    except (OSError, ValueError, LookupError, TypeError):
        raise SettingsError(f"{folder} has no readable config.json of transformers") from None
    if isinstance(kind, str) and kind in _ONLY_IN_TRANSFORMERS:
        raise SettingsError(
            f"{folder} is {_ONLY_IN_TRANSFORMERS[kind]}, which cannot be converted from a folder: "
            "docs/models.md lists the models that can"
        )
    if not isinstance(kind, str) or kind not in OF_TRANSFORMERS:
        raise SettingsError(
            f"{folder} is a model of type {kind!r}, which cannot be converted. These types can: "
            + ", ".join(OF_TRANSFORMERS)
        )
    return Model(*OF_TRANSFORMERS[kind])


def shapes(weights: Mapping[str, Any]) -> Shapes:
    """The shapes of tensors. What is no tensor has none."""
    return {name: tuple(getattr(value, "shape", ())) for name, value in weights.items()}


def convertible(weights: Mapping[str, Any], source: Path) -> Model:
    """The model of some tensors. SettingsError says what was recognised and what was not."""
    found = recognise(shapes(weights))
    if found is None:
        parts = {name.split(".")[0] for name in weights}
        raise SettingsError(
            f"{source} is not a checkpoint of SAM: recognised {_listed(_PARTS & parts)}, "
            f"not recognised {_listed(parts - _PARTS)}"
        )
    if found.family is None:
        raise SettingsError(
            f"{source} is a checkpoint of {found.name}, which cannot be converted: "
            "docs/models.md lists the models that can"
        )
    return found


def _listed(parts: set[str], most: int = 5) -> str:
    some = sorted(parts)[:most]
    rest = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(some) + rest if parts else "nothing"
