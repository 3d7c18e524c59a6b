"""Models of the real classes of transformers with random weights, small enough for tests."""

from __future__ import annotations

from typing import Any

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "global_attn_indexes": [1],
    "output_channels": 32,
    "mlp_dim": 32,
    "num_pos_feats": 16,
    "window_size": 14,
}
HIERA = {
    "hidden_size": 8,
    "num_attention_heads": 1,
    "blocks_per_stage": [1, 1, 2, 1],
    "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 1, 1, 1],
    "window_size_per_stage": [8, 4, 14, 7],
    "global_attention_blocks": [3],
}


def small_model(kind: str) -> Any:
    """A model of the real class whose sizes are those of the hub's, but for its widths."""
    import torch  # noqa: PLC0415

    from sam_backend.engines.torch_engine import import_torchvision  # noqa: PLC0415

    torch.manual_seed(3)
    import_torchvision()
    import transformers as t  # noqa: PLC0415

    decoder = {
        "hidden_size": 32,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    }
    if kind == "edgetam":
        backbone = t.TimmWrapperConfig(
            architecture="repvit_m1",
            model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
        )
        return t.EdgeTamModel(
            t.EdgeTamConfig(
                vision_config=t.EdgeTamVisionConfig(backbone_config=backbone, fpn_hidden_size=32),
                prompt_encoder_config=t.EdgeTamPromptEncoderConfig(hidden_size=32),
                mask_decoder_config=t.EdgeTamMaskDecoderConfig(**decoder),
            )
        ).eval()
    if kind == "sam2":
        vision = t.Sam2VisionConfig(
            backbone_config=t.Sam2HieraDetConfig(**HIERA),
            backbone_channel_list=[64, 32, 16, 8],
            fpn_hidden_size=32,
        )
        config = t.Sam2Config(
            vision_config=vision,
            prompt_encoder_config=t.Sam2PromptEncoderConfig(hidden_size=32),
            mask_decoder_config=t.Sam2MaskDecoderConfig(**decoder),
        )
        return t.Sam2Model(config).eval()
    name = {"sam": "Sam", "sam_hq": "SamHQ"}[kind]
    extra = {"vit_dim": 16} if kind == "sam_hq" else {}
    config = getattr(t, f"{name}Config")(
        vision_config=getattr(t, f"{name}VisionConfig")(**VIT),
        prompt_encoder_config=getattr(t, f"{name}PromptEncoderConfig")(hidden_size=32),
        mask_decoder_config=getattr(t, f"{name}MaskDecoderConfig")(**decoder, **extra),
    )
    return getattr(t, f"{name}Model")(config).eval()
