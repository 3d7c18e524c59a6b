"""SAM-HQ and Light HQ-SAM in PyTorch, with the names that their makers gave the weights.

A SAM with one more token. Its mask is made of finer features, and is added to each mask of SAM.
Those features come from an early layer of the encoder and from its last one, so they depend on the
image alone, and are a part of the embedding.

The decoder of SAM-HQ in transformers 5.23 does not do this: it scales up the image's features from
before its attention, and swaps rows and columns. So models of transformers are loaded here too.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sam_backend.engines.frame import MODEL_SIDE, TOKEN_SIDE
from sam_backend.errors import SettingsError

_SIDE = MODEL_SIDE // TOKEN_SIDE
_BLOCK = re.compile(r"image_encoder\.blocks\.(\d+)\.attn\.rel_pos_h$")
# A TinyViT has these for naming what is in a picture. A checkpoint may lack them.
_UNUSED = re.compile(r"image_encoder\.(norm_head|head)\.")
HEADS = 8  # of the decoder's attention


class HqSam(torch.nn.Module):
    """The modules of SAM, with an encoder and a decoder for the finer features."""

    def __init__(self, image_encoder: Any, prompt_encoder: Any, mask_decoder: HqDecoder) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def encode(self, pixels: Any) -> tuple[Any, Any]:
        """Features (1, C, 64, 64), and the finer ones (1, C / 8, 256, 256)."""
        is_tiny = hasattr(self.image_encoder, "layers")
        run = _encoded_by_tiny_vit if is_tiny else _encoded_by_vit
        features, early = run(self.image_encoder, pixels)
        return features, self.mask_decoder.finer_features(features, early)


def _encoded_by_vit(encoder: Any, pixels: Any) -> tuple[Any, Any]:
    """The features, and those behind the first block that sees the whole image."""
    tokens = encoder.patch_embed(pixels) + encoder.pos_embed
    early = None
    for block in encoder.blocks:
        tokens = block(tokens)
        if early is None and block.window_size == 0:
            early = tokens
    return encoder.neck(tokens.permute(0, 3, 1, 2)), early


def _encoded_by_tiny_vit(encoder: Any, pixels: Any) -> tuple[Any, Any]:
    """The features, and those behind the second stage."""
    tokens, early = encoder.patch_embed(pixels), None
    for stage, layer in enumerate(encoder.layers):
        tokens = layer(tokens)
        if stage == 1:
            early = _as_grid(tokens)
    return encoder.neck(_as_grid(tokens).permute(0, 3, 1, 2)), early


def _as_grid(tokens: Any) -> Any:
    batch, _, channels = tokens.size()
    return tokens.view(batch, _SIDE, _SIDE, channels)


class HqDecoder(torch.nn.Module):
    """SAM's decoder, and the parts that SAM-HQ adds."""

    def __init__(self, width: int, early_width: int, mlp_width: int, heads: int, iou: int) -> None:
        super().__init__()
        modeling = importlib.import_module("segment_anything.modeling")
        decoder = importlib.import_module("segment_anything.modeling.mask_decoder")
        norm = importlib.import_module("segment_anything.modeling.common").LayerNorm2d
        plain = modeling.MaskDecoder(
            transformer_dim=width,
            transformer=modeling.TwoWayTransformer(
                depth=2, embedding_dim=width, mlp_dim=mlp_width, num_heads=heads
            ),
            iou_head_hidden_dim=iou,
        )
        for name, module in plain.named_children():
            self.add_module(name, module)
        fine, finest = width // 4, width // 8
        self.hf_token = nn.Embedding(1, width)
        self.hf_mlp = decoder.MLP(width, width, finest, 3)
        self.compress_vit_feat = nn.Sequential(
            nn.ConvTranspose2d(early_width, width, 2, 2),
            norm(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, finest, 2, 2),
        )
        self.embedding_encoder = nn.Sequential(
            nn.ConvTranspose2d(width, fine, 2, 2),
            norm(fine),
            nn.GELU(),
            nn.ConvTranspose2d(fine, finest, 2, 2),
        )
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(finest, fine, 3, padding=1),
            norm(fine),
            nn.GELU(),
            nn.Conv2d(fine, finest, 3, padding=1),
        )

    def finer_features(self, features: Any, early: Any) -> Any:
        """(1, C / 8, 256, 256) from features (1, C, 64, 64) and early ones (1, 64, 64, C')."""
        early = self.compress_vit_feat(early.permute(0, 3, 1, 2))
        return self.embedding_encoder(features) + early

    def predict_masks(
        self,
        image_embeddings: Any,
        image_pe: Any,
        sparse_prompt_embeddings: Any,
        dense_prompt_embeddings: Any,
        finer: Any,
    ) -> tuple[Any, Any]:
        """Logits (1, 4, 256, 256) and scores (1, 4): the masks of SAM, plus the finer mask."""
        own = (self.iou_token.weight, self.mask_tokens.weight, self.hf_token.weight)
        tokens = torch.cat((torch.cat(own)[None], sparse_prompt_embeddings), dim=1)
        image = image_embeddings + dense_prompt_embeddings
        tokens, image = self.transformer(image, image_pe, tokens)
        width = image_embeddings.shape[1]
        image = self.output_upscaling(image.transpose(1, 2).view(1, width, _SIDE, _SIDE))
        kernels = [mlp(tokens[:, 1 + n]) for n, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.stack(kernels, dim=1) @ image.flatten(2)
        masks = masks.view(1, len(kernels), 4 * _SIDE, 4 * _SIDE)
        kernel = self.hf_mlp(tokens[:, 1 + len(kernels)])
        masks = masks + self._finer_mask(kernel, image, finer)
        return masks, self.iou_prediction_head(tokens[:, 0])

    def _finer_mask(self, kernel: Any, image: Any, finer: Any) -> Any:
        """The product of a kernel (1, c) with the mask features, (1, 1, 256, 256).

        The kernel is first multiplied with the last convolution, which then has one channel.
        """
        *before, last = self.embedding_maskfeature
        for layer in before:
            image = layer(image)
        side = 4 * _SIDE
        channels, inner = last.weight.shape[:2]
        taps = (kernel @ last.weight.view(channels, -1)).view(inner, 9).transpose(0, 1)
        taps = (taps @ image.flatten(2)).view(1, 9, side, side)
        # This moves each of the nine products to its place, and adds them.
        places = torch.eye(9, dtype=taps.dtype, device=taps.device).view(1, 9, 3, 3)
        moved = functional.conv2d(taps, places, padding=1)
        flat = kernel[:, None] @ finer.flatten(2) + kernel @ last.bias
        return moved + flat.view(1, 1, side, side)


def load(weights: Mapping[str, Any], heads: int = HEADS) -> HqSam:
    """The model with these weights, whose shapes tell all sizes. SettingsError if they do not fit.

    `heads` of the decoder's attention are the only number that no shape tells.
    """
    try:
        model = _built(weights, heads)
        found = model.load_state_dict(weights, strict=False)
    except (RuntimeError, KeyError, ValueError, AttributeError) as error:
        raise SettingsError(_unfit(str(error))) from None
    other = [n for n in (*found.missing_keys, *found.unexpected_keys) if not _UNUSED.match(n)]
    if other:
        raise SettingsError(_unfit(", ".join(other)))
    model.eval().requires_grad_(requires_grad=False)
    return model


def _unfit(problem: str) -> str:
    return f"the weights do not fit SAM-HQ: {' '.join(problem.split())[:200]}"


def _built(weights: Mapping[str, Any], heads: int) -> HqSam:
    modeling = importlib.import_module("segment_anything.modeling")
    sizes = {name: tuple(value.shape) for name, value in weights.items()}
    width = sizes["mask_decoder.hf_token.weight"][1]
    decoder = HqDecoder(
        width,
        sizes["mask_decoder.compress_vit_feat.0.weight"][0],
        sizes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
        heads,
        sizes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
    )
    prompts = modeling.PromptEncoder(
        embed_dim=width,
        image_embedding_size=(_SIDE, _SIDE),
        input_image_size=(MODEL_SIDE, MODEL_SIDE),
        mask_in_chans=sizes["prompt_encoder.mask_downscaling.3.weight"][0],
    )
    return HqSam(_encoder(sizes), prompts, decoder)


def _encoder(sizes: Mapping[str, tuple[int, ...]]) -> Any:
    if "image_encoder.patch_embed.proj.weight" not in sizes:
        mobile_sam = importlib.import_module("mobile_sam")
        return mobile_sam.sam_model_registry["vit_t"]().image_encoder
    # The tables of relative positions have 2 n - 1 rows, for windows of n x n tokens.
    found = {int(m[1]): size for name, size in sizes.items() if (m := _BLOCK.match(name))}
    windows = {block: (rows + 1) // 2 for block, (rows, _) in found.items()}
    width = sizes["image_encoder.patch_embed.proj.weight"][0]
    return importlib.import_module("segment_anything.modeling").ImageEncoderViT(
        depth=len(found),
        embed_dim=width,
        img_size=MODEL_SIDE,
        mlp_ratio=sizes["image_encoder.blocks.0.mlp.lin1.weight"][0] / width,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=width // found[0][1],
        patch_size=TOKEN_SIDE,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=[block for block, window in windows.items() if window == _SIDE],
        window_size=min(windows.values()),
        out_chans=sizes["image_encoder.neck.0.weight"][0],
    )
