"""EfficientViT-SAM in PyTorch, with the names that its makers gave the weights.

SAM with another encoder: convolutions, and blocks of linear attention. All sizes are built from the
names and shapes of the weights. The smaller sizes encode a square of 512 pixels. They get SAM's
square at half its size, so that images and prompts are prepared as for SAM.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sam_backend.engines.frame import MODEL_SIDE, TOKEN_SIDE
from sam_backend.errors import SettingsError

Sizes = Mapping[str, tuple[int, ...]]

_SIDE = MODEL_SIDE // TOKEN_SIDE
_EPSILON = 1e-6  # of all norms
_HEAD = 32  # channels of each head
_LEAST = 1e-15  # added to the sum of attentions
# The convolutions of a block, in the order in which they follow each other. A block has two or
# three of them, and its stride is that of the first one that sees neighbours.
_CONVOLUTIONS = ("conv1", "conv2", "inverted_conv", "spatial_conv", "depth_conv", "point_conv")
_STRIDING = ("conv1", "spatial_conv", "depth_conv")
_ENCODER = "image_encoder."


class EfficientViTSam(nn.Module):
    """The modules of SAM, with another encoder."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        modeling = importlib.import_module("segment_anything.modeling")
        self.image_encoder = _Encoder(
            {k.removeprefix(_ENCODER): v for k, v in sizes.items() if k.startswith(_ENCODER)}
        )
        width = sizes["mask_decoder.mask_tokens.weight"][1]
        self.prompt_encoder = modeling.PromptEncoder(
            embed_dim=width,
            image_embedding_size=(_SIDE, _SIDE),
            input_image_size=(MODEL_SIDE, MODEL_SIDE),
            mask_in_chans=sizes["prompt_encoder.mask_downscaling.3.weight"][0],
        )
        self.mask_decoder = modeling.MaskDecoder(
            transformer_dim=width,
            transformer=modeling.TwoWayTransformer(
                depth=2,
                embedding_dim=width,
                mlp_dim=sizes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
                num_heads=8,
            ),
            iou_head_hidden_dim=sizes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        )


class _Convolution(nn.Module):
    def __init__(self, sizes: Sizes, path: str, *, stride: int = 1, activates: bool = True) -> None:
        super().__init__()
        out, inner, side, _ = sizes[f"{path}.conv.weight"]
        groups = out if path.endswith("depth_conv") else 1
        has_bias = f"{path}.conv.bias" in sizes
        self.conv = nn.Conv2d(
            inner * groups, out, side, stride, side // 2, groups=groups, bias=has_bias
        )
        has_norm = f"{path}.norm.weight" in sizes
        self.norm = nn.BatchNorm2d(out, eps=_EPSILON) if has_norm else nn.Identity()
        self.activates = activates

    def forward(self, image: Any) -> Any:
        image = self.norm(self.conv(image))
        return functional.gelu(image, approximate="tanh") if self.activates else image


class _Convolutions(nn.Module):
    """Two or three convolutions, of which the last one is not activated."""

    def __init__(self, sizes: Sizes, path: str, stride: int = 1) -> None:
        super().__init__()
        names = [name for name in _CONVOLUTIONS if f"{path}.{name}.conv.weight" in sizes]
        for name in names:
            step = stride if name in _STRIDING else 1
            last = name == names[-1]
            layer = _Convolution(sizes, f"{path}.{name}", stride=step, activates=not last)
            self.add_module(name, layer)

    def forward(self, image: Any) -> Any:
        for layer in self.children():
            image = layer(image)
        return image


class _Attention(nn.Module):
    """Linear attention of each pixel to all, at the image's scale and at coarser ones."""

    def __init__(self, sizes: Sizes, path: str) -> None:
        super().__init__()
        self.qkv = _Convolution(sizes, f"{path}.qkv", activates=False)
        scales = sum(name.startswith(f"{path}.aggreg.") for name in sizes) // 2
        self.aggreg = nn.ModuleList(
            nn.Sequential(
                *(_grouped(sizes[f"{path}.aggreg.{n}.{layer}.weight"]) for layer in range(2))
            )
            for n in range(scales)
        )
        self.proj = _Convolution(sizes, f"{path}.proj", activates=False)

    def forward(self, image: Any) -> Any:
        plain = self.qkv(image)
        both = torch.cat((plain, *(layer(plain) for layer in self.aggreg)), dim=1)
        height, width = image.shape[-2:]
        parts = both.reshape(1, -1, 3 * _HEAD, height * width).split(_HEAD, dim=2)
        query, key, value = parts[0].relu(), parts[1].relu(), parts[2]
        # The row of ones sums up the attentions.
        value = functional.pad(value, (0, 0, 0, 1), value=1.0)
        seen = (value @ key.transpose(-1, -2)) @ query
        seen = seen[:, :, :-1] / (seen[:, :, -1:] + _LEAST)
        return self.proj(seen.reshape(1, -1, height, width))


def _grouped(size: tuple[int, ...]) -> Any:
    out, inner, side, _ = size
    return nn.Conv2d(out, out, side, padding=side // 2, groups=out // inner, bias=False)


class _Residual(nn.Module):
    def __init__(self, main: Any, *, adds: bool = True) -> None:
        super().__init__()
        self.main, self.adds = main, adds

    def forward(self, image: Any) -> Any:
        return image + self.main(image) if self.adds else self.main(image)


class _AttentionBlock(nn.Module):
    def __init__(self, sizes: Sizes, path: str) -> None:
        super().__init__()
        self.context_module = _Residual(_Attention(sizes, f"{path}.context_module.main"))
        self.local_module = _Residual(_Convolutions(sizes, f"{path}.local_module.main"))

    def forward(self, image: Any) -> Any:
        return self.local_module(self.context_module(image))


class _Sequence(nn.Module):
    """Layers that follow each other, under the makers' name."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.op_list = nn.ModuleList(layers)

    def forward(self, image: Any) -> Any:
        for layer in self.op_list:
            image = layer(image)
        return image


def _stage(sizes: Sizes, path: str) -> _Sequence:
    """Its first layer halves the image."""
    layers: list[Any] = []
    for number in range(_count(sizes, f"{path}.op_list")):
        layer = f"{path}.op_list.{number}"
        if f"{layer}.conv.weight" in sizes:
            layers.append(_Convolution(sizes, layer, stride=2))
        elif f"{layer}.context_module.main.qkv.conv.weight" in sizes:
            layers.append(_AttentionBlock(sizes, layer))
        else:
            stride = 1 if number else 2
            main = _Convolutions(sizes, f"{layer}.main", stride)
            layers.append(_Residual(main, adds=bool(number)))
    return _Sequence(*layers)


class _Backbone(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        count = _count(sizes, "backbone.stages")
        self.stages = nn.ModuleList(_stage(sizes, f"backbone.stages.{n}") for n in range(count))

    def forward(self, image: Any) -> list[Any]:
        made = []
        for stage in self.stages:
            image = stage(image)
            made.append(image)
        return made


class _Neck(nn.Module):
    """Joins the last three stages, the last one first."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.input_ops = nn.ModuleList(
            _Sequence(_Convolution(sizes, f"neck.input_ops.{n}.op_list.0", activates=False))
            for n in range(_count(sizes, "neck.input_ops"))
        )
        self.middle = _Sequence(
            *(
                _Residual(_Convolutions(sizes, f"neck.middle.op_list.{n}.main"))
                for n in range(_count(sizes, "neck.middle.op_list"))
            )
        )
        last = _Convolution(sizes, "neck.output_ops.0.op_list.0", activates=False)
        self.output_ops = nn.ModuleList([_Sequence(last)])

    def forward(self, stages: list[Any]) -> Any:
        joined = 0.0
        for layer, image in zip(self.input_ops, reversed(stages), strict=False):
            part = layer(image)
            if part.shape[-1] != _SIDE:
                part = functional.interpolate(part, (_SIDE, _SIDE), mode="bicubic")
            joined = joined + part
        return self.output_ops[0](self.middle(joined))


class _Encoder(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.backbone, self.neck = _Backbone(sizes), _Neck(sizes)
        norm = importlib.import_module("segment_anything.modeling.common").LayerNorm2d
        self.norm = norm(sizes["norm.weight"][0], eps=_EPSILON)
        # The third stage from the end has the size of the features.
        self.halves = _SIDE << len(self.backbone.stages) - 2 < MODEL_SIDE

    def forward(self, pixels: Any) -> Any:
        """Features (1, C, 64, 64) of SAM's square (1, 3, 1024, 1024)."""
        if self.halves:
            pixels = functional.avg_pool2d(pixels, 2)
        return self.norm(self.neck(self.backbone(pixels)))


def _count(sizes: Sizes, path: str) -> int:
    """How many numbered modules there are in a list."""
    start = f"{path}."
    return len({n[len(start) :].split(".")[0] for n in sizes if n.startswith(start)})


def load(weights: Mapping[str, Any]) -> EfficientViTSam:
    """The model of these weights. SettingsError if they do not fit."""
    try:
        model = EfficientViTSam({name: tuple(value.shape) for name, value in weights.items()})
        model.load_state_dict(weights)
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        problem = " ".join(str(error).split())[:200]
        raise SettingsError(f"the weights do not fit EfficientViT-SAM: {problem}") from None
    model.eval().requires_grad_(requires_grad=False)
    return model
