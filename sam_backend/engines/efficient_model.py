"""EfficientSAM in PyTorch, with the names that its makers gave the weights.

The encoder is SAM's, with blocks that all see the whole image. The decoder has SAM's parts, but
other attention among the tokens, and no place for an earlier mask. A prompt always has six points.
Each kind of point has a code: positive points, both corners of a rectangle, and the padding that
stands for missing points. Negative points have no code, because the model was not trained on them.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sam_backend.engines.frame import MODEL_SIDE, TOKEN_SIDE
from sam_backend.errors import SettingsError

_SIDE = MODEL_SIDE // TOKEN_SIDE
_HEAD = 64  # channels of each head of the encoder's attention
HEADS = 8  # of the decoder's attention
_PLACES = "image_encoder.pos_embed"
_BLOCK = re.compile(r"image_encoder\.blocks\.(\d+)\.norm1\.weight$")
_MLP = re.compile(r"^(image_encoder\.blocks\.\d+\.mlp)\.fc(\d)\.")


class EfficientSam(nn.Module):
    """An encoder, and a decoder for six points."""

    def __init__(self, image_encoder: Any, width: int, mlp_width: int, iou_width: int) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = _Prompts(width)
        self.mask_decoder = _Decoder(width, mlp_width, iou_width)

    def encode(self, pixels: Any) -> tuple[Any]:
        """Features (1, C, 64, 64)."""
        return (self.image_encoder(pixels),)

    def decode(self, features: Any, points: Any, labels: Any) -> tuple[Any, Any]:
        """Logits (1, 3, 256, 256) and scores (1, 3) for points (1, 6, 2) with labels (1, 6).

        The points are pixels of the model's square. The mask of the first token is left out,
        because the makers' own code never uses it.
        """
        prompt = self.prompt_encoder(points, labels)
        masks, scores = self.mask_decoder(features, self.prompt_encoder.grid(), prompt)
        return masks[:, 1:], scores[:, 1:]


class _Prompts(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.pe_layer = _Frequencies(width)
        self.invalid_points = nn.Embedding(1, width)
        self.point_embeddings = nn.Embedding(1, width)
        self.bbox_top_left_embeddings = nn.Embedding(1, width)
        self.bbox_bottom_right_embeddings = nn.Embedding(1, width)

    def forward(self, points: Any, labels: Any) -> Any:
        """(1, n, C): what each point is, and where."""
        codes = self.pe_layer((points + 0.5) / MODEL_SIDE)
        kinds = {
            -1: self.invalid_points,
            1: self.point_embeddings,
            2: self.bbox_top_left_embeddings,
            3: self.bbox_bottom_right_embeddings,
        }
        for label, kind in kinds.items():
            codes = codes + kind.weight * (labels == label).unsqueeze(-1)
        return codes

    def grid(self) -> Any:
        """The position codes (1, C, 64, 64) of the image's tokens."""
        steps = (torch.arange(_SIDE, device=self.invalid_points.weight.device) + 0.5) / _SIDE
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        return self.pe_layer(torch.stack((columns, rows), dim=-1)).permute(2, 0, 1)[None]


class _Frequencies(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, places: Any) -> Any:
        """Sines and cosines (…, C) of places (…, 2), which are x, y from 0 to 1."""
        angles = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((torch.sin(angles), torch.cos(angles)), dim=-1)


class _Mlp(nn.Module):
    """Layers with a GELU after each one but the last."""

    def __init__(self, width: int, inner: int, out: int, depth: int) -> None:
        super().__init__()
        sizes = [width, *[inner] * depth]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(one, other), nn.GELU()) for one, other in pairwise(sizes)
        )
        self.fc = nn.Linear(inner, out)

    def forward(self, tokens: Any) -> Any:
        for layer in self.layers:
            tokens = layer(tokens)
        return self.fc(tokens)


class _Block(nn.Module):
    """Tokens attend to each other and to the image, and then the image attends to them."""

    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        attention = importlib.import_module("segment_anything.modeling.transformer").Attention
        self.self_attn = attention(width, HEADS)
        self.cross_attn_token_to_image = attention(width, HEADS, 2)
        self.cross_attn_image_to_token = attention(width, HEADS, 2)
        self.mlp = _Mlp(width, mlp_width, width, 1)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens: Any, image: Any, prompt: Any, places: Any) -> tuple[Any, Any]:
        """`tokens` have the codes of the prompt already."""
        tokens = self.norm1(tokens + self.self_attn(tokens, tokens, tokens))
        seen = self.cross_attn_token_to_image(tokens + prompt, image + places, image)
        tokens = self.norm2(tokens + seen)
        tokens = self.norm3(tokens + self.mlp(tokens))
        seen = self.cross_attn_image_to_token(image + places, tokens + prompt, tokens)
        return tokens, self.norm4(image + seen)


class _Transformer(nn.Module):
    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        attention = importlib.import_module("segment_anything.modeling.transformer").Attention
        self.layers = nn.ModuleList(_Block(width, mlp_width) for _ in range(2))
        self.final_attn_token_to_image = attention(width, HEADS, 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, image: Any, places: Any, prompt: Any) -> tuple[Any, Any]:
        tokens = prompt
        for number, layer in enumerate(self.layers):
            tokens, image = layer(tokens + prompt if number else tokens, image, prompt, places)
        seen = self.final_attn_token_to_image(tokens + prompt, image + places, image)
        return self.norm_final_attn(tokens + seen), image


class _Decoder(nn.Module):
    def __init__(self, width: int, mlp_width: int, iou_width: int, masks: int = 4) -> None:
        super().__init__()
        self.transformer = _Transformer(width, mlp_width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(masks, width)
        fine, finest = width // 4, width // 8
        self.final_output_upscaling_layers = nn.ModuleList(
            (
                nn.Sequential(nn.ConvTranspose2d(width, fine, 2, 2), nn.GroupNorm(1, fine)),
                nn.Sequential(nn.ConvTranspose2d(fine, finest, 2, 2)),
            )
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            _Mlp(width, width, finest, 2) for _ in range(masks)
        )
        self.iou_prediction_head = _Mlp(width, iou_width, masks, 2)

    def forward(self, features: Any, places: Any, prompt: Any) -> tuple[Any, Any]:
        """Logits (1, 4, 256, 256) and scores (1, 4)."""
        own = torch.cat((self.iou_token.weight, self.mask_tokens.weight))[None]
        flat, flat_places = (part.flatten(2).transpose(1, 2) for part in (features, places))
        tokens, flat = self.transformer(flat, flat_places, torch.cat((own, prompt), dim=1))
        image = flat.transpose(1, 2).reshape(features.shape)
        for layer in self.final_output_upscaling_layers:
            image = functional.gelu(layer(image))
        kernels = [mlp(tokens[:, 1 + n]) for n, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.stack(kernels, dim=1) @ image.flatten(2)
        masks = masks.view(1, len(kernels), 4 * _SIDE, 4 * _SIDE)
        return masks, self.iou_prediction_head(tokens[:, 0])


def load(weights: Mapping[str, Any]) -> EfficientSam:
    """The model of these weights, whose shapes tell its sizes. SettingsError if they do not fit."""
    try:
        model = _built(weights)
        model.load_state_dict(_by_sams_names(weights))
    except (RuntimeError, KeyError, ValueError) as error:
        problem = " ".join(str(error).split())[:200]
        raise SettingsError(f"the weights do not fit EfficientSAM: {problem}") from None
    model.eval().requires_grad_(requires_grad=False)
    return model


def _built(weights: Mapping[str, Any]) -> EfficientSam:
    sizes = {name: tuple(value.shape) for name, value in weights.items()}
    inner = sizes["image_encoder.patch_embed.proj.weight"][0]
    return empty(
        inner,
        depth=sum(_BLOCK.match(name) is not None for name in sizes),
        encoder_mlp=sizes["image_encoder.blocks.0.mlp.fc1.weight"][0],
        width=sizes["mask_decoder.mask_tokens.weight"][1],
        mlp_width=sizes["mask_decoder.transformer.layers.0.mlp.fc.weight"][1],
        iou_width=sizes["mask_decoder.iou_prediction_head.fc.weight"][1],
    )


def empty(
    inner: int,
    *,
    depth: int = 12,
    encoder_mlp: int = 0,
    width: int = 256,
    mlp_width: int = 2048,
    iou_width: int = 256,
) -> EfficientSam:
    """The model without trained weights. `inner` is the width of the encoder: 192 or 384."""
    encoder = importlib.import_module("segment_anything.modeling").ImageEncoderViT(
        depth=depth,
        embed_dim=inner,
        img_size=MODEL_SIDE,
        mlp_ratio=(encoder_mlp or 4 * inner) / inner,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=max(1, inner // _HEAD),
        patch_size=TOKEN_SIDE,
        out_chans=width,
    )
    return EfficientSam(encoder, width, mlp_width, iou_width)


def _by_sams_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights with the encoder's by the names in SAM, and its places for 64 x 64 tokens."""
    found = {_MLP.sub(r"\1.lin\2.", name): value for name, value in weights.items()}
    places = found[_PLACES][:, 1:]  # the first one belongs to a token for the whole image
    side = math.isqrt(places.shape[1])
    grid = places.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if side != _SIDE:
        grid = functional.interpolate(grid, (_SIDE, _SIDE), mode="bicubic")
    found[_PLACES] = grid.permute(0, 2, 3, 1)
    return found
