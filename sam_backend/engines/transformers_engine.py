"""SAM 2, SAM-HQ, SlimSAM and SAM as Hugging Face's transformers defines them.

Two things differ from SAM's own code. These models return either the single mask or the three
others, so the engine asks twice for all four. SAM 2 stretches the image to a square instead of
padding it, so its masks are moved to the frame that all engines share.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats, Frame
from sam_backend.engines.protocol import Embedding, model_input
from sam_backend.engines.torch_engine import choose_device, encoding_lock, import_torchvision
from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels

# The type in a model's config.json → the class for images. SAM 2 is published as a video model.
CLASSES = {
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
_STD = np.array([0.229, 0.224, 0.225], np.float32) * 255


class TransformersSam:
    """A model of transformers as an engine. It keeps no image."""

    def __init__(self, source: str, device: str = "auto") -> None:
        self.name = source
        self.device = torch.device(choose_device(device))
        self.model, self._stretches = _load(source)
        self.model.to(self.device)
        self._one_at_a_time = encoding_lock(self.device)

    def encode(self, image: Pixels) -> Embedding:
        pixels = torch.from_numpy(_stretched(image) if self._stretches else model_input(image))
        with self._one_at_a_time, torch.inference_mode():
            made = self.model.get_image_embeddings(pixels.to(self.device))
            parts = [part.float().cpu().numpy() for part in _flat(made)]
        # All parts are joined to one array, so that the caches need not know the model.
        features = np.concatenate([part.ravel() for part in parts])[None]
        return Embedding(features, height=image.shape[0], width=image.shape[1])

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        size = embedding.height, embedding.width
        height, width = (MODEL_SIDE, MODEL_SIDE) if self._stretches else Frame(*size).scaled
        scale = np.array([width / embedding.width, height / embedding.height], np.float32)
        prompt: dict[str, Any] = self._embeddings(embedding)
        if box is None or len(points):
            prompt["input_points"] = self._on(points.reshape(1, 1, -1, 2) * scale)
            prompt["input_labels"] = self._on(labels.reshape(1, 1, -1)).long()
        if box is not None:
            prompt["input_boxes"] = self._on(box.reshape(1, 1, 4) * np.tile(scale, 2))
        if mask_input is not None:
            mask = _to_stretched(mask_input, *size) if self._stretches else mask_input
            prompt["input_masks"] = self._on(mask[None, None])
        answers = []
        with torch.inference_mode():
            for several in (False, True):
                answer = self.model(multimask_output=several, **prompt)
                answers.append((_array(answer.pred_masks), _array(answer.iou_scores)))
        logits = np.concatenate([masks.reshape(-1, *masks.shape[-2:]) for masks, _ in answers])
        if self._stretches:
            logits = np.stack([_from_stretched(mask, *size) for mask in logits])
        return logits, np.concatenate([scores.ravel() for _, scores in answers])

    def _embeddings(self, embedding: Embedding) -> dict[str, Any]:
        """The parts of the embedding, under the model's own names."""
        start, parts = 0, []
        for shape in _shapes(self.model):
            end = start + int(np.prod(shape))
            parts.append(self._on(embedding.features[0, start:end].reshape(shape)))
            start = end
        if self._stretches:
            return {"image_embeddings": parts}
        if len(parts) == 2:
            return {"image_embeddings": parts[0], "intermediate_embeddings": parts[1:]}
        return {"image_embeddings": parts[0]}

    def _on(self, array: Floats) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)


def check_source(source: str) -> None:
    """SettingsError unless it is a folder with a known model, or may be a name on the hub."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if not _HUB_NAME.fullmatch(source):
            raise SettingsError(
                f"TRANSFORMERS_MODEL={source!r} is neither a folder nor a model's name on a hub"
            )
        return
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise SettingsError(f"{folder} has no readable config.json of transformers") from None
    _class_name(source, kind)


def _class_name(source: str, kind: str) -> str:
    if kind not in CLASSES:
        raise SettingsError(
            f"TRANSFORMERS_MODEL={source!r} is a model of type {kind!r}, not one of "
            + ", ".join(CLASSES)
        )
    return CLASSES[kind]


def _load(source: str) -> tuple[Any, bool]:
    import_torchvision()
    transformers = importlib.import_module("transformers")
    place = str(Path(source).expanduser()) if Path(source).expanduser().is_dir() else source
    try:
        config = transformers.AutoConfig.from_pretrained(place)
        name = _class_name(source, config.model_type)
        # Only safetensors, because pickles can run code.
        model = getattr(transformers, name).from_pretrained(place, use_safetensors=True)
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())[:200]
        raise SettingsError(f"TRANSFORMERS_MODEL={source!r} cannot be loaded: {problem}") from None
    return model.eval().requires_grad_(requires_grad=False), name == "Sam2Model"


def _shapes(model: Any) -> list[tuple[int, ...]]:
    """Shapes of the parts of an embedding, in the order in which `encode` joins them."""
    config, side = model.config, MODEL_SIDE // 16
    kind = type(model).__name__
    if kind == "Sam2Model":
        width = config.vision_config.fpn_hidden_size
        channels = (width // 8, width // 4, width)
        return [
            (1, count, *size)
            for count, size in zip(channels, model.backbone_feature_sizes, strict=True)
        ]
    shapes: list[tuple[int, ...]] = [(1, config.vision_config.output_channels, side, side)]
    if kind == "SamHQModel":
        shapes.append((1, side, side, config.vision_config.hidden_size))
    return shapes


def _flat(made: Any) -> list[Any]:
    """Unpacks get_image_embeddings: one tensor, several, or one and a list of intermediate ones."""
    if isinstance(made, torch.Tensor):
        return [made]
    if len(made) == 2 and isinstance(made[1], (list, tuple)):
        return [made[0], made[1][0]]  # SAM-HQ only uses the first
    return list(made)


def _array(tensor: Any) -> Floats:
    result: Floats = tensor.float().cpu().numpy()
    return result


def _stretched(image: Pixels) -> Floats:
    """The input of SAM 2: (1, 3, 1024, 1024), stretched to the square, normalised like ImageNet."""
    square = Image.fromarray(image).resize((MODEL_SIDE, MODEL_SIDE), Image.Resampling.BILINEAR)
    pixels = (np.asarray(square, np.float32) - _MEAN) / _STD
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _from_stretched(mask: Floats, height: int, width: int) -> Floats:
    """Logits of a stretched square in the frame of a padded one."""
    return _warp(mask, [MODEL_SIDE / side for side in Frame(height, width).scaled])


def _to_stretched(mask: Floats, height: int, width: int) -> Floats:
    return _warp(mask, [side / MODEL_SIDE for side in Frame(height, width).scaled])


def _warp(mask: Floats, scale: list[float]) -> Floats:
    """Resamples by `scale` (y, x), with interpolation between the centres of pixels."""
    down, across = scale
    shift = [across / 2 - 0.5, down / 2 - 0.5]
    matrix = np.array([[across, 0, shift[0]], [0, down, shift[1]]], np.float32)
    warped = cv2.warpAffine(
        mask.astype(np.float32, copy=False),
        matrix,
        (LOW_RES_SIDE, LOW_RES_SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.float32)
