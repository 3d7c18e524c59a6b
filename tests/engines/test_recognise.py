"""What a model is, by the names and shapes of its weights alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_backend.engines.recognise import Model, convertible, recognise, recognise_folder
from sam_backend.errors import SettingsError

Shapes = dict[str, tuple[int, ...]]

DECODER: Shapes = {"mask_decoder.transformer.layers.0.self_attn.q_proj.weight": (256, 256)}
TINY_VIT: Shapes = {"image_encoder.patch_embed.seq.0.c.weight": (32, 3, 3, 3)}
HQ: Shapes = {"mask_decoder.hf_token.weight": (1, 256)}


def vit(width: int) -> Shapes:
    return {"image_encoder.patch_embed.proj.weight": (width, 3, 16, 16), **DECODER}


def hiera(width: int, blocks: int, **more: tuple[int, ...]) -> Shapes:
    return {
        "image_encoder.trunk.patch_embed.proj.weight": (width, 3, 7, 7),
        "sam_mask_decoder.iou_token.weight": (1, 256),
        **{f"image_encoder.trunk.blocks.{n}.norm1.weight": (width,) for n in range(blocks)},
        **more,
    }


@pytest.mark.parametrize(
    ("weights", "name", "family"),
    [
        (vit(768), "SAM-B", "sam"),
        (vit(1024), "SAM-L", "sam"),
        (vit(1280), "SAM-H", "sam"),
        (TINY_VIT | DECODER, "MobileSAM", "sam"),  # and TinySAM
        (TINY_VIT | DECODER | HQ, "Light HQ-SAM", "hq"),
        (vit(768) | HQ, "SAM-HQ-B", "hq"),
        (vit(384) | HQ, "SAM-HQ", "hq"),
        (DECODER | HQ, "SAM-HQ", None),
        (hiera(96, 12), "SAM 2 tiny", "sam2"),
        (hiera(96, 16), "SAM 2 small", "sam2"),
        (hiera(112, 24, no_obj_embed_spatial=(1, 64)), "SAM 2.1 base_plus", "sam2"),
        (hiera(144, 48, no_obj_embed_spatial=(1, 64)), "SAM 2.1 large", "sam2"),
        (
            {
                "image_encoder.trunk.body.stem.conv1.c.weight": (24, 3, 3, 3),
                "spatial_perceiver.latents": (256, 64),
            },
            "EdgeTAM",
            "sam2",
        ),
        (
            vit(192) | {"prompt_encoder.bbox_top_left_embeddings.weight": (1, 256)},
            "EfficientSAM",
            "efficient",
        ),
        (
            {"image_encoder.backbone.input_stem.op_list.0.conv.weight": (32, 3, 3, 3), **DECODER},
            "EfficientViT-SAM",
            "efficientvit",
        ),
    ],
)
def test_models_are_known_by_their_weights(weights: Shapes, name: str, family: str | None) -> None:
    found = recognise(weights)
    assert found is not None
    assert (found.name, found.family) == (name, family)


@pytest.mark.parametrize(
    "weights", [{}, vit(384), {"fc.weight": (10, 3)}, TINY_VIT, {"mask_decoder.x": ()}]
)
def test_other_weights_are_no_model(weights: Shapes) -> None:
    assert recognise(weights) is None


def test_a_hiera_of_another_depth_is_named_but_not_converted() -> None:
    assert recognise(hiera(96, 13)) == Model("SAM 2", None)


def test_a_refusal_says_what_was_recognised_and_what_was_not() -> None:
    weights: dict[str, Any] = {"image_encoder.x": np.zeros(3), "head.y": 1, "neck.z": None}
    said = "x.pt is not a checkpoint of SAM: recognised image_encoder, not recognised head, neck"
    with pytest.raises(SettingsError, match=said):
        convertible(weights, Path("x.pt"))
    with pytest.raises(SettingsError, match="recognised nothing, not recognised nothing"):
        convertible({}, Path("x.pt"))
    many = {f"part{n}.weight": 0 for n in range(9)}
    with pytest.raises(SettingsError, match="part4 and 4 more"):
        convertible(many, Path("x.pt"))


def test_a_model_that_is_known_but_not_converted_is_refused_by_name() -> None:
    weights = {name: np.zeros(shape) for name, shape in (DECODER | HQ).items()}
    with pytest.raises(SettingsError, match="SAM-HQ, which cannot be converted: docs/models"):
        convertible(weights, Path("x.pt"))


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("sam2", Model("SAM 2", "transformers")),
        ("sam2_video", Model("SAM 2", "transformers")),
        ("edgetam", Model("EdgeTAM", "transformers")),
        ("sam_hq", Model("SAM-HQ", "hq")),
    ],
)
def test_a_folder_of_transformers_says_what_it_is(tmp_path: Path, kind: str, model: Model) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    assert recognise_folder(tmp_path) == model


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            '{"model_type": "bert"}',
            r"type 'bert', which cannot be converted\. These types can: sam2",
        ),
        ('{"model_type": ["sam2"]}', "of type "),
        ('{"model_type": "sam"}', "is SAM, which cannot be converted from a folder: docs"),
        ("{}", "has no readable config.json"),
        ("[1]", "has no readable config.json"),
        ("<html>", "has no readable config.json"),
    ],
)
def test_another_folder_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(SettingsError, match=words):
        recognise_folder(tmp_path)
