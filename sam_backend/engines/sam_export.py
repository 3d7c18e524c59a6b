"""The encoder and the decoder of SAM and its kin, as modules that can be exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, TOKEN_SIDE, Frame

_SIDE = MODEL_SIDE // TOKEN_SIDE


@dataclass(frozen=True)
class Exportable:
    """Two modules with the inputs of SAM's official script, and what else they take and give."""

    encoder: Any
    decoder: Any
    channels: int  # of the features
    masks: str = "low_res_masks"  # the decoder's output
    size: tuple[int, int] = (LOW_RES_SIDE, LOW_RES_SIDE)  # of the masks
    # The encoder's outputs after the features: their names and shapes. The decoder takes them.
    details: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    object_score: bool = False  # whether it is the decoder's third output
    kind: str = "sam"  # of model: a key of protocol.KINDS
    slots: int = 0  # of points, for a decoder that takes no earlier mask. 0: any number
    count: int = 4  # of masks
    stability: tuple[float, float] | None = None  # see graph.reader.STABILITY
    # A graph for any number of images names the sizes that `graph.any_size_encoder` looks for.
    any_batch: bool = False

    @property
    def features(self) -> tuple[int, ...]:
        return (1, self.channels, _SIDE, _SIDE)


def exportable(sam: Any, fixed_size: tuple[int, int] | None = None) -> Exportable:
    """The parts of a `Sam`. With a fixed size, its decoder scales masks to it."""
    channels = sam.prompt_encoder.embed_dim
    decoder = FourMasks(sam, fixed_size)
    if fixed_size is None:
        any_batch = _is_tiny_vit(sam)
        return Exportable(sam.image_encoder, decoder, channels, any_batch=any_batch)
    return Exportable(sam.image_encoder, decoder, channels, "masks", fixed_size)


def hq_exportable(sam: Any) -> Exportable:
    """The parts of a `HqSam`, whose finer features are a detail of the embedding."""
    channels = sam.prompt_encoder.embed_dim
    finer = {"finer_features": (1, channels // 8, LOW_RES_SIDE, LOW_RES_SIDE)}
    return Exportable(
        _Encoder(sam),
        FourMasks(sam),
        channels,
        details=finer,
        kind="hq",
        any_batch=_is_tiny_vit(sam),
    )


def efficient_exportable(sam: Any) -> Exportable:
    """The parts of an `EfficientSam`, whose decoder takes six points and nothing else."""
    channels = sam.mask_decoder.iou_token.embedding_dim
    return Exportable(_Encoder(sam), _SixPoints(sam), channels, kind="efficient", slots=6, count=3)


def _is_tiny_vit(sam: Any) -> bool:
    """Whether padding can be left out. The blocks of a ViT that see everything see it, too."""
    return hasattr(sam.image_encoder, "layers")


class _Encoder(torch.nn.Module):
    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, image: Any) -> tuple[Any, ...]:
        return tuple(self.sam.encode(image))


class _SixPoints(torch.nn.Module):
    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, image_embeddings: Any, point_coords: Any, point_labels: Any) -> Any:
        return self.sam.decode(image_embeddings, point_coords, point_labels)


class FourMasks(torch.nn.Module):
    """SAM's decoder with the official script's inputs; returns the masks of all four tokens."""

    def __init__(self, sam: Any, fixed_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.prompts = sam.prompt_encoder
        self.decoder = sam.mask_decoder
        self.fixed_size = fixed_size

    def forward(
        self,
        image_embeddings: Any,
        point_coords: Any,
        point_labels: Any,
        mask_input: Any,
        has_mask_input: Any,
        *details: Any,
    ) -> tuple[Any, Any]:
        no_mask = self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense = has_mask_input * self.prompts.mask_downscaling(mask_input)
        masks, scores = self.decoder.predict_masks(
            image_embeddings,
            self.prompts.get_dense_pe(),
            self._sparse(point_coords, point_labels.unsqueeze(-1)),
            dense + (1 - has_mask_input) * no_mask,
            *details,
        )
        if self.fixed_size:
            height, width = Frame(*self.fixed_size).scaled
            square = (MODEL_SIDE, MODEL_SIDE)
            masks = torch.nn.functional.interpolate(masks, square, mode="bilinear")
            masks = masks[..., :height, :width]
            masks = torch.nn.functional.interpolate(masks, self.fixed_size, mode="bilinear")
        return masks, scores

    def _sparse(self, points: Any, labels: Any) -> Any:
        # A trace keeps no `if`, so the embedding of every label is multiplied by 0 or 1.
        codes = self.prompts.pe_layer._pe_encoding((points + 0.5) / MODEL_SIDE)  # noqa: SLF001
        codes = codes * (labels != -1)
        kinds = [self.prompts.not_a_point_embed, *self.prompts.point_embeddings]
        for label, kind in enumerate(kinds, start=-1):
            codes = codes + kind.weight * (labels == label)
        return codes
