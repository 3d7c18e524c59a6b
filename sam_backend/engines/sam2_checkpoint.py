"""Loads a checkpoint of SAM 2 or EdgeTAM in its makers' names as the model of transformers.

Both have the same parts. The makers number the layers of their small networks, and transformers
calls the first and the last one by name. Parts for videos only are left out. EdgeTAM is a SAM 2
with another backbone, a RepViT, which both take from timm.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from sam_backend.errors import SettingsError

# For videos: memory, pointers to objects, and their substitutes.
_VIDEO = re.compile(
    r"memory_|maskmem_|mask_downsample\.|obj_ptr_|no_obj_|no_mem_pos_enc$|spatial_perceiver\."
)
# The weights of timm have the same names in both.
_OF_TIMM = "image_encoder.trunk.body.", "vision_encoder.backbone.timm_model."
# In this order. Each rule sees what the ones before it made.
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^no_mem_embed$", "no_memory_embedding"),
        (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
        (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
        (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
        (r"^sam_mask_decoder\.", "mask_decoder."),
        (r"^sam_prompt_encoder\.", "prompt_encoder."),
        (
            r"\.pe_layer\.positional_encoding_gaussian_matrix$",
            ".shared_embedding.positional_embedding",
        ),
        (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
        (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
        (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
        (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
        (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
        (r"\.output_upscaling\.0\.", ".upscale_conv1."),
        (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
        (r"\.output_upscaling\.3\.", ".upscale_conv2."),
        (r"\.out_proj\.", ".o_proj."),
        (r"\.norm(\d)\.", r".layer_norm\1."),
        (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
        # Networks of two layers, and of three.
        (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
        (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
        (r"(_mlps\.\d|_head)\.layers\.0\.", r"\1.proj_in."),
        (r"(_mlps\.\d|_head)\.layers\.1\.", r"\1.layers.0."),
        (r"(_mlps\.\d|_head)\.layers\.2\.", r"\1.proj_out."),
    )
)
_POINTS = "sam_prompt_encoder.point_embeddings.{}.weight"  # one for each kind of point
_PLACES = "prompt_encoder.shared_embedding.positional_embedding"

# The four sizes of Hiera, by our name of each.
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 96, "heads": 1, "blocks": (1, 2, 7, 2), "see_all": (5, 7, 9)},
    "small": {"width": 96, "heads": 1, "blocks": (1, 2, 11, 2), "see_all": (7, 10, 13)},
    "base_plus": {
        "width": 112,
        "heads": 2,
        "blocks": (2, 3, 16, 3),
        "see_all": (12, 16, 20),
        "background": (14, 14),
    },
    "large": {
        "width": 144,
        "heads": 2,
        "blocks": (2, 6, 36, 4),
        "see_all": (23, 33, 43),
        "windows": (8, 4, 16, 8),
    },
}


def renamed(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of the model for images, by the names of transformers, except the points'."""
    found = {}
    for original, value in weights.items():
        if _VIDEO.match(original) or original.startswith(_POINTS.split("{}", 1)[0]):
            continue
        name = original.replace(*_OF_TIMM)
        if name == original:
            for pattern, replacement in _RULES:
                name = pattern.sub(replacement, name)
        found[name] = value
    found["shared_image_embedding.positional_embedding"] = found[_PLACES]
    return found


def configuration(size: str) -> Any:
    """The configuration of transformers for a size of SAM 2."""
    transformers = importlib.import_module("transformers")
    facts = _SIZES[size]
    widths = [facts["width"] << stage for stage in range(4)]
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=facts["width"],
        num_attention_heads=facts["heads"],
        blocks_per_stage=list(facts["blocks"]),
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[facts["heads"] << stage for stage in range(4)],
        window_size_per_stage=list(facts.get("windows", (8, 4, 14, 7))),
        global_attention_blocks=list(facts["see_all"]),
        window_positional_embedding_background_size=list(facts.get("background", (7, 7))),
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=widths[::-1]
    )
    return transformers.Sam2Config(vision_config=vision)


def configuration_of_edgetam() -> Any:
    """The configuration of transformers for EdgeTAM."""
    transformers = importlib.import_module("transformers")
    backbone = transformers.TimmWrapperConfig(
        architecture="repvit_m1",
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    )
    vision = transformers.EdgeTamVisionConfig(backbone_config=backbone)
    return transformers.EdgeTamConfig(vision_config=vision)


def load(weights: Mapping[str, Any], size: str) -> Any:
    """A Sam2Model with these weights, or an EdgeTamModel without a size.

    SettingsError if they do not fit.
    """
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    config = configuration(size) if size else configuration_of_edgetam()
    config._attn_implementation = "eager"  # noqa: SLF001 (its only name; exports need it)
    try:
        found = renamed(weights)
        points = [weights[_POINTS.format(kind)] for kind in range(4)]
        found["prompt_encoder.point_embed.weight"] = torch.cat(points)
        model = (transformers.Sam2Model if size else transformers.EdgeTamModel)(config)
        model.load_state_dict(found)
    except (RuntimeError, KeyError) as error:
        problem = " ".join(str(error).split())[:200]
        name = f"SAM 2 {size}" if size else "EdgeTAM"
        raise SettingsError(f"the checkpoint does not fit {name}: {problem}") from None
    return model.eval().requires_grad_(requires_grad=False)
