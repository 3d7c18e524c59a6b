"""The encoder and the decoder of SAM 2 and EdgeTAM, as modules that can be exported.

All that depends on the image alone is in the encoder: the features of high resolution, and the
embedding that stands for a missing memory. The decoder has the inputs of SAM's official script, and
after them the details of the encoder.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE
from sam_backend.engines.sam_export import Exportable


def exportable(model: Any) -> Exportable:
    """The parts of a Sam2Model or an EdgeTamModel."""
    width = model.mask_decoder.hidden_size
    details = {
        "high_res_feats_0": (1, width // 8, LOW_RES_SIDE, LOW_RES_SIDE),
        "high_res_feats_1": (1, width // 4, LOW_RES_SIDE // 2, LOW_RES_SIDE // 2),
    }
    return Exportable(
        _Sam2Encoder(model),
        _Sam2Decoder(model),
        width,
        details=details,
        object_score=True,
        kind="sam2",
        stability=_stability(model.mask_decoder),
    )


def _stability(decoder: Any) -> tuple[float, float] | None:
    """When the model replaces the single mask: see graph.reader.STABILITY."""
    if not decoder.dynamic_multimask_via_stability:
        return None
    return decoder.dynamic_multimask_stability_delta, decoder.dynamic_multimask_stability_thresh


class _Sam2Encoder(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision = model.vision_encoder
        self.finest, self.finer = model.mask_decoder.conv_s0, model.mask_decoder.conv_s1
        self.no_memory = model.no_memory_embedding.reshape(1, -1, 1, 1)
        backbone = self.vision.backbone
        if hasattr(backbone, "_get_pos_embed"):
            # The positions of a square are the same for all images.
            side = MODEL_SIDE // 4
            positions = backbone._get_pos_embed((side, side))  # noqa: SLF001
            backbone._get_pos_embed = lambda _size: positions  # noqa: SLF001

    def forward(self, image: Any) -> tuple[Any, Any, Any]:
        finest, finer, features = self.vision(image).fpn_hidden_states
        return features + self.no_memory, self.finest(finest), self.finer(finer)


class _Prompts(torch.nn.Module):
    """The prompt encoder of transformers with the inputs of the official script."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.prompt_encoder
        self.register_buffer("position_codes", model.get_image_wide_positional_embeddings())

    def forward(self, points: Any, labels: Any, mask: Any, has_mask: Any) -> dict[str, Any]:
        encoder = self.encoder
        no_mask = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense = has_mask * encoder.mask_embed(mask) + (1 - has_mask) * no_mask
        return {
            "image_positional_embeddings": self.position_codes,
            "sparse_prompt_embeddings": self._sparse(points[:, None], labels[:, None, :, None]),
            "dense_prompt_embeddings": dense,
        }

    def _sparse(self, points: Any, labels: Any) -> Any:
        # A trace keeps no `if`, so the embedding of every label is multiplied by 0 or 1.
        codes = self.encoder.shared_embedding((points + 0.5) / MODEL_SIDE) * (labels != -1)
        encoder = self.encoder
        kinds = encoder.not_a_point_embed.weight, *encoder.point_embed.weight
        for label, kind in enumerate(kinds, start=-1):
            codes = codes + kind * (labels == label)
        return codes


class _Sam2Decoder(torch.nn.Module):
    """The masks of all four tokens, and whether there is an object at all."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.prompts, self.decoder = _Prompts(model), deepcopy(model.mask_decoder)
        choose = self.decoder._dynamic_multimask_via_stability  # noqa: SLF001
        is_dynamic = self.decoder.dynamic_multimask_via_stability

        def all_four(masks: Any, scores: Any) -> tuple[Any, Any]:
            """The single mask as the model itself would choose it, and the other three."""
            if not is_dynamic:
                return masks, scores
            mask, score = choose(masks, scores)
            return torch.cat((mask, masks[:, :, 1:]), 2), torch.cat((score, scores[:, :, 1:]), 2)

        # Here the model cuts its four masks down to one.
        self.decoder._dynamic_multimask_via_stability = all_four  # noqa: SLF001
        self.decoder.dynamic_multimask_via_stability = True

    def forward(
        self, features: Any, points: Any, labels: Any, mask: Any, has_mask: Any, *details: Any
    ) -> tuple[Any, Any, Any]:
        masks, scores, _, present = self.decoder(
            image_embeddings=features,
            **self.prompts(points, labels, mask, has_mask),
            multimask_output=False,
            high_resolution_features=list(details),
        )
        side = LOW_RES_SIDE
        return masks.reshape(1, 4, side, side), scores.reshape(1, 4), present.reshape(1, 1)
