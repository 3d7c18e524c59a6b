"""The weights of SAM-HQ in transformers, by the names that its makers gave them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sam_backend.engines.hq_model import HqSam, load
from sam_backend.engines.torch_engine import package

# In this order. Each rule sees what the ones before it made.
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
        (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
        (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
        (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
        (r"^vision_encoder\.", "image_encoder."),
        (
            r"\.shared_embedding\.positional_embedding$",
            ".pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"\.point_embed\.", ".point_embeddings."),
        (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
        (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
        (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
        (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
        (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
        (r"\.upscale_conv1\.", ".output_upscaling.0."),
        (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
        (r"\.upscale_conv2\.", ".output_upscaling.3."),
        (r"\.compress_vit_conv1\.", ".compress_vit_feat.0."),
        (r"\.compress_vit_norm\.", ".compress_vit_feat.1."),
        (r"\.compress_vit_conv2\.", ".compress_vit_feat.3."),
        (r"\.encoder_conv1\.", ".embedding_encoder.0."),
        (r"\.encoder_norm\.", ".embedding_encoder.1."),
        (r"\.encoder_conv2\.", ".embedding_encoder.3."),
        (r"\.mask_conv1\.", ".embedding_maskfeature.0."),
        (r"\.mask_norm\.", ".embedding_maskfeature.1."),
        (r"\.mask_conv2\.", ".embedding_maskfeature.3."),
        (r"\.hq_token\.", ".hf_token."),
        (r"\.hq_mask_mlp\.", ".hf_mlp."),
        (r"\.layer_norm(\d)\.", r".norm\1."),
        (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
        # Networks of three layers.
        (r"(mlp|_mlps\.\d|_head)\.layers\.0\.", r"\1.layers.1."),
        (r"(mlp|_mlps\.\d|_head)\.proj_in\.", r"\1.layers.0."),
        (r"(mlp|_mlps\.\d|_head)\.proj_out\.", r"\1.layers.2."),
    )
)


def by_the_makers_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a SamHQModel by the names of the makers' checkpoints."""
    found = {}
    for original, value in weights.items():
        if original.startswith("shared_image_embedding."):
            continue  # the prompt encoder has the same
        name = original
        for pattern, replacement in _RULES:
            name = pattern.sub(replacement, name)
        found[name] = value
    return found


def of_transformers(model: Any) -> HqSam:
    """Our own model with the weights of a SamHQModel of transformers, whose decoder is wrong."""
    package("SAM-HQ")
    heads = model.config.mask_decoder_config.num_attention_heads
    return load(by_the_makers_names(model.state_dict()), heads)
