"""SAM 2, EdgeTAM, SlimSAM and SAM as Hugging Face's transformers defines them.

Two things differ from SAM's own code. These models return either the single mask or the three
others, so the engine asks twice for all four. SAM 2 stretches the image to a square instead of
padding it, so its masks are moved to the frame that all engines share. SAM-HQ is loaded too, but
another engine runs it, see hq_model.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sam_backend.engines import hq_checkpoint, model_source
from sam_backend.engines.frame import Floats, Frame, Halves
from sam_backend.engines.protocol import SAM, SAM_2, Embedding, Engine, halved, model_input
from sam_backend.engines.torch_engine import (
    TorchEngine,
    choose_device,
    encoding_lock,
    import_torchvision,
    package,
)
from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels

# The type in a model's config.json → the class for images. SAM 2 is published as a video model.
CLASSES = {
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamModel",
}
STRETCHING = ("Sam2Model", "EdgeTamModel")
_SETTING = "TRANSFORMERS_MODEL"


class TransformersSam:
    """A model of transformers as an engine. It keeps no image."""

    def __init__(self, model: Any, name: str, device: str = "auto") -> None:
        self.name = name
        self.device = torch.device(choose_device(device))
        self.model = model.to(self.device)
        self._stretches = type(model).__name__ in STRETCHING
        self.facts = SAM_2 if self._stretches else SAM
        self._one_at_a_time = encoding_lock(self.device)

    def encode(self, image: Pixels) -> Embedding:
        pixels = torch.from_numpy(model_input(image, stretched=self._stretches))
        with self._one_at_a_time, torch.inference_mode():
            made = self.model.get_image_embeddings(pixels.to(self.device))
            parts = [_array(part) for part in _flat(made)]
        *details, features = parts
        return Embedding(features, image.shape[0], image.shape[1], tuple(map(halved, details)))

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        frame = embedding.frame
        square = Frame(embedding.height, embedding.width, self._stretches)
        prompt: dict[str, Any] = self._embeddings(embedding)
        if box is None or len(points):
            prompt["input_points"] = self._on(square.in_square(points)[None, None])
            prompt["input_labels"] = self._on(labels.reshape(1, 1, -1)).long()
        if box is not None:
            prompt["input_boxes"] = self._on(square.in_square(box).reshape(1, 1, 4))
        if mask_input is not None:
            mask = frame.to_stretched(mask_input) if self._stretches else mask_input
            prompt["input_masks"] = self._on(mask[None, None])
        answers = []
        with torch.inference_mode():
            for several in (False, True):
                answer = self.model(multimask_output=several, **prompt)
                answers.append((_array(answer.pred_masks), _array(answer.iou_scores)))
        logits = np.concatenate([masks.reshape(-1, *masks.shape[-2:]) for masks, _ in answers])
        if self._stretches:
            logits = frame.from_stretched(logits)
        return logits, np.concatenate([scores.ravel() for _, scores in answers])

    def _embeddings(self, embedding: Embedding) -> dict[str, Any]:
        """The parts of the embedding, under the model's own names."""
        parts = [*map(self._on, embedding.details), self._on(embedding.features)]
        if self._stretches:
            return {"image_embeddings": parts}
        return {"image_embeddings": parts[0]}

    def _on(self, array: Floats | Halves) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)


def check_source(source: str) -> None:
    """SettingsError unless it is a folder with a known model, or may be a name on the hub."""
    if model_source.check(_SETTING, source, CLASSES) == "sam_hq":
        package("SAM-HQ")


def open_transformers(source: str, device: str = "auto") -> Engine:
    """The engine of a folder or of a name on a hub. SettingsError if it cannot be loaded."""
    model = load(source)
    if type(model).__name__ == "SamHQModel":
        return TorchEngine(hq_checkpoint.of_transformers(model), source, device, "hq")
    return TransformersSam(model, source, device)


def load(source: str) -> Any:
    """The model for images of a folder or of a name on a hub, on the CPU."""
    import_torchvision()
    transformers = importlib.import_module("transformers")
    from safetensors import SafetensorError  # noqa: PLC0415 (a part of transformers)

    place = str(Path(source).expanduser()) if Path(source).expanduser().is_dir() else source
    try:
        kind = transformers.AutoConfig.from_pretrained(place).model_type
        model_source.check_kind(_SETTING, source, kind, CLASSES)
        # Only safetensors, because pickles can run code.
        model = getattr(transformers, CLASSES[kind]).from_pretrained(place, use_safetensors=True)
    except (OSError, ValueError, SafetensorError) as error:
        problem = " ".join(str(error).split())[:200]
        raise SettingsError(f"TRANSFORMERS_MODEL={source!r} cannot be loaded: {problem}") from None
    return model.eval().requires_grad_(requires_grad=False)


def _flat(made: Any) -> list[Any]:
    """Unpacks get_image_embeddings: one tensor or several."""
    if isinstance(made, torch.Tensor):
        return [made]
    return list(made)


def _array(tensor: Any) -> Floats:
    result: Floats = tensor.float().cpu().numpy()
    return result
