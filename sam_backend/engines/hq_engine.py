"""SAM-HQ in PyTorch. The converter compares its ONNX pair with this engine."""

from __future__ import annotations

from typing import Any

import torch

from sam_backend.engines.frame import Floats
from sam_backend.engines.hq_checkpoint import by_the_makers_names
from sam_backend.engines.hq_model import HqSam, load
from sam_backend.engines.protocol import SAM_HQ, Embedding, halved, model_input
from sam_backend.engines.torch_engine import choose_device, decoded, encoding_lock, package
from sam_backend.formats.pictures import Pixels


class TorchHq:
    """The modules of SAM-HQ, called directly. It keeps no image."""

    def __init__(self, sam: HqSam, name: str, device: str = "auto") -> None:
        self.name = name
        self.facts = SAM_HQ
        self.device = torch.device(choose_device(device))
        self.sam = sam.to(self.device)
        self._one_at_a_time = encoding_lock(self.device)

    def encode(self, image: Pixels) -> Embedding:
        pixels = torch.from_numpy(model_input(image))
        with self._one_at_a_time, torch.inference_mode():
            made = self.sam.encode(pixels.to(self.device))
            features, finer = (part.float().cpu().numpy() for part in made)
        return Embedding(features, image.shape[0], image.shape[1], (halved(finer),))

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        return decoded(self.sam, self.device, embedding, (points, labels, box, mask_input))


def of_transformers(model: Any) -> HqSam:
    """Our own model with the weights of a SamHQModel of transformers, whose decoder is wrong."""
    package("SAM-HQ")
    heads = model.config.mask_decoder_config.num_attention_heads
    return load(by_the_makers_names(model.state_dict()), heads)
