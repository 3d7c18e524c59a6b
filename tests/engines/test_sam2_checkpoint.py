"""Checkpoints of SAM 2 and EdgeTAM in their makers' names, read as models of transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sam_backend.errors import SettingsError
from tests.needs import need

pytestmark = pytest.mark.filterwarnings("ignore")

# From the names of transformers to those of the makers: the other way than the converter goes.
BACK = (
    (r"^vision_encoder\.backbone\.timm_model\.", "image_encoder.trunk.body."),
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"shared_embedding\.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"\.o_proj", ".out_proj"),
    (r"layer_norm", "norm"),
    (r"mlp\.proj_in", "mlp.layers.0"),
    (r"mlp\.proj_out", "mlp.layers.1"),
    (r"(_mlps\.\d|_head)\.layers\.0", r"\1.layers.1"),
    (r"(_mlps\.\d|_head)\.proj_in", r"\1.layers.0"),
    (r"(_mlps\.\d|_head)\.proj_out", r"\1.layers.2"),
)


def in_the_makers_names(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for original, value in model.state_dict().items():
        name = original
        for pattern, replacement in BACK:
            name = re.sub(pattern, replacement, name)
            if "trunk.body" in name:
                break  # the rest has timm's names
        found[name] = value
    del found["shared_image_embedding.positional_embedding"]
    points = found.pop("sam_prompt_encoder.point_embed.weight")
    for kind, point in enumerate(points):
        found[f"sam_prompt_encoder.point_embeddings.{kind}.weight"] = point[None]
    return found


def of_videos() -> dict[str, Any]:
    """Some weights that serve videos only."""
    import torch  # noqa: PLC0415

    names = (
        "maskmem_tpos_enc",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "no_obj_embed_spatial",
        "memory_attention.layers.0.norm1.weight",
        "memory_encoder.out_proj.weight",
        "mask_downsample.weight",
        "obj_ptr_proj.layers.0.weight",
        "obj_ptr_tpos_proj.weight",
    )
    return {name: torch.zeros(1) for name in names}


@pytest.mark.parametrize("size", ["tiny", "small", "base_plus", "large"])
def test_the_makers_names_become_those_of_transformers(size: str) -> None:
    """Every weight of the model for images, at every size, and none of those for videos."""
    need("torch", "transformers")
    import torch  # noqa: PLC0415

    from sam_backend.engines import sam2_checkpoint, torch_engine  # noqa: PLC0415
    from sam_backend.engines.recognise import recognise, shapes  # noqa: PLC0415

    torch_engine.import_torchvision()
    import transformers  # noqa: PLC0415

    with torch.device("meta"):
        model = transformers.Sam2Model(sam2_checkpoint.configuration(size))
    original = in_the_makers_names(model) | of_videos()
    found = recognise(shapes(original))
    assert found is not None
    assert (found.name, found.family, found.size) == (f"SAM 2.1 {size}", "sam2", size)
    wanted = model.state_dict()
    del wanted["prompt_encoder.point_embed.weight"]
    assert shapes(sam2_checkpoint.renamed(original)) == shapes(wanted)


def test_a_checkpoint_in_the_makers_names_is_the_same_model(tmp_path: Path) -> None:
    """At the true size of the smallest: what is loaded says what was saved."""
    need("torch", "transformers")
    import torch  # noqa: PLC0415

    from sam_backend.engines import sam2_checkpoint, torch_engine  # noqa: PLC0415

    torch_engine.import_torchvision()
    import transformers  # noqa: PLC0415

    model = transformers.Sam2Model(sam2_checkpoint.configuration("tiny"))
    places = model.prompt_encoder.shared_embedding.positional_embedding
    model.shared_image_embedding.positional_embedding.copy_(places)  # as in trained weights
    checkpoint = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": in_the_makers_names(model) | of_videos()}, checkpoint)
    weights = torch_engine.read(checkpoint, "cpu")
    loaded = sam2_checkpoint.load(weights, "tiny")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    del weights["sam_mask_decoder.iou_token.weight"]
    with pytest.raises(SettingsError, match=r"does not fit SAM 2 tiny: .*mask_decoder\.iou_token"):
        sam2_checkpoint.load(weights, "tiny")


def test_a_checkpoint_of_edgetam_in_the_makers_names_is_the_same_model(tmp_path: Path) -> None:
    need("torch", "transformers", "timm")
    import torch  # noqa: PLC0415

    from sam_backend.engines import sam2_checkpoint, torch_engine  # noqa: PLC0415
    from sam_backend.engines.recognise import convertible  # noqa: PLC0415

    torch_engine.import_torchvision()
    import transformers  # noqa: PLC0415

    model = transformers.EdgeTamModel(sam2_checkpoint.configuration_of_edgetam())
    places = model.prompt_encoder.shared_embedding.positional_embedding
    model.shared_image_embedding.positional_embedding.copy_(places)  # as in trained weights
    checkpoint = tmp_path / "edgetam.pt"
    perceiver = {"spatial_perceiver.latents": torch.zeros(1)}  # for videos
    saved = in_the_makers_names(model) | of_videos() | perceiver
    torch.save({"model": saved}, checkpoint)
    weights = torch_engine.read(checkpoint, "cpu")
    found = convertible(weights, checkpoint)
    assert (found.name, found.family, found.size) == ("EdgeTAM", "sam2", "")
    loaded = sam2_checkpoint.load(weights, found.size)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    del weights["no_mem_embed"]
    with pytest.raises(SettingsError, match=r"does not fit EdgeTAM: .*no_memory_embedding"):
        sam2_checkpoint.load(weights, found.size)
