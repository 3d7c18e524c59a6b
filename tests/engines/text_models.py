"""Small models that find phrases: the real classes, random weights, tiny vocabularies."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

WORDS = ("cat", "dog", "car", "person", "red", "disc")
SIDE = 64  # of the square that the small models see, pixels
_SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}


def save(kind: str, folder: Path) -> Path:
    """Saves a model and its processor as users have them in a folder."""
    import torch  # noqa: PLC0415

    from sam_backend.engines.torch_engine import import_torchvision  # noqa: PLC0415

    torch.manual_seed(5)
    import_torchvision()
    import transformers as t  # noqa: PLC0415

    make = {"sam3": _sam3, "grounding-dino": _grounding_dino, "owlv2": _owlv2}[kind]
    model, processor = make(t)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _clip_tokenizer(t: Any, length: int) -> Any:
    signs = [*string.ascii_lowercase, *string.digits]
    vocab = [*signs, *(f"{sign}</w>" for sign in signs), "<|startoftext|>", "<|endoftext|>"]
    return t.CLIPTokenizer(
        vocab={token: number for number, token in enumerate(vocab)},
        merges=[],
        model_max_length=length,
    )


def _clip_text(t: Any, tokenizer: Any, length: int) -> dict[str, Any]:
    return {
        **_SMALL,
        "vocab_size": len(tokenizer),
        "num_hidden_layers": 1,
        "max_position_embeddings": length,
        "projection_dim": 32,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _owlv2(t: Any) -> tuple[Any, Any]:
    tokenizer = _clip_tokenizer(t, 16)
    config = t.Owlv2Config(
        text_config=_clip_text(t, tokenizer, 16),
        vision_config={**_SMALL, "num_hidden_layers": 1, "image_size": SIDE, "patch_size": 16},
        projection_dim=32,
    )
    images = t.Owlv2ImageProcessor(size={"height": SIDE, "width": SIDE})
    return t.Owlv2ForObjectDetection(config), t.Owlv2Processor(images, tokenizer)


def _grounding_dino(t: Any) -> tuple[Any, Any]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?"]
    tokenizer = t.BertTokenizer(vocab={word: n for n, word in enumerate([*special, *WORDS])})
    config = t.GroundingDinoConfig(
        backbone_config=t.SwinConfig(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=t.BertConfig(
            **_SMALL, vocab_size=len(tokenizer), num_hidden_layers=1, max_position_embeddings=256
        ),
        num_queries=12,
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=2,
    )
    images = t.GroundingDinoImageProcessor(size={"height": 2 * SIDE, "width": 2 * SIDE})
    return t.GroundingDinoForObjectDetection(config), t.GroundingDinoProcessor(images, tokenizer)


def _sam3(t: Any) -> tuple[Any, Any]:
    tokenizer = _clip_tokenizer(t, 32)
    side = 112
    layers = {**_SMALL, "num_layers": 1}
    config = t.Sam3Config(
        vision_config=t.Sam3VisionConfig(
            backbone_config=t.Sam3ViTConfig(
                **_SMALL,
                num_hidden_layers=1,
                image_size=side,
                patch_size=14,
                window_size=4,
                global_attn_indexes=[0],
                pretrain_image_size=side,
            ),
            fpn_hidden_size=32,
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        ),
        text_config=t.CLIPTextConfig(**_clip_text(t, tokenizer, 32)),
        geometry_encoder_config=t.Sam3GeometryEncoderConfig(**layers),
        detr_encoder_config=t.Sam3DETREncoderConfig(**layers),
        detr_decoder_config=t.Sam3DETRDecoderConfig(**layers, num_queries=6),
        mask_decoder_config=t.Sam3MaskDecoderConfig(hidden_size=32, num_attention_heads=2),
    )
    images = t.Sam3ImageProcessor(size={"height": side, "width": side})
    return t.Sam3Model(config), t.Sam3Processor(images, tokenizer)
