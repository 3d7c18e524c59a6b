"""Models of transformers that find what a phrase names: SAM 3, Grounding DINO, OWLv2.

SAM 3 answers with masks. A detector answers with boxes, and the engine makes their masks.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sam_backend.engines import model_source
from sam_backend.engines.text_protocol import Finding
from sam_backend.engines.torch_engine import choose_device, import_torchvision
from sam_backend.errors import Refusal, SettingsError
from sam_backend.formats.pictures import Pixels

_DETECTOR = "AutoModelForZeroShotObjectDetection"
# The type in a model's config.json → its class, and the score from which its makers show an object.
KINDS = {
    "sam3": ("Sam3Model", 0.5),
    "sam3_video": ("Sam3Model", 0.5),
    "grounding-dino": (_DETECTOR, 0.3),
    "mm-grounding-dino": (_DETECTOR, 0.3),
    "owlv2": (_DETECTOR, 0.2),
    "owlvit": (_DETECTOR, 0.1),
}
MOST_TOKENS = 200  # Grounding DINO reads 256, the others fewer
_SETTING = "SAM_TEXT_MODEL"


class TextModel:
    """A model that finds the objects which a phrase names. It keeps no image."""

    def __init__(self, source: str, device: str = "auto", min_score: float | None = None) -> None:
        self.name = source
        self.device = torch.device(choose_device(device))
        self._model, self._processor, kind = _load(source)
        self._model.to(self.device)
        name, usual = KINDS[kind]
        self._makes_masks = name == "Sam3Model"
        self._is_grounding = kind.endswith("grounding-dino")
        self._min_score = usual if min_score is None else min_score
        # A run uses all cores, and the memory of a second one may be too much.
        self._one_at_a_time = threading.Lock()

    def find(self, image: Pixels, phrase: str) -> list[Finding]:
        """The objects in an image (H, W, 3) that a phrase names, best first."""
        height, width = image.shape[:2]
        text: Any = phrase
        if self._is_grounding:
            text = phrase.lower().rstrip(". ") + "."  # as it was trained
        elif not self._makes_masks:
            text = [[phrase]]
        self._check_length(phrase)
        asked = self._processor(images=image, text=text, return_tensors="pt")
        with self._one_at_a_time, torch.inference_mode():
            answer = self._model(**asked.to(self.device))
        sizes = [(height, width)]
        if self._makes_masks:
            found = self._processor.post_process_instance_segmentation(
                answer, threshold=self._min_score, target_sizes=sizes
            )
        elif self._is_grounding:
            found = self._processor.post_process_grounded_object_detection(
                answer, asked["input_ids"], threshold=self._min_score, target_sizes=sizes
            )
        else:
            found = self._processor.post_process_grounded_object_detection(
                answer, threshold=self._min_score, target_sizes=sizes
            )
        scores, boxes = (found[0][key].float().cpu().numpy() for key in ("scores", "boxes"))
        boxes = np.clip(boxes, 0, np.array([width, height] * 2)).astype(np.float32)
        masks = found[0]["masks"].bool().cpu().numpy() if self._makes_masks else [None] * len(boxes)
        return [
            Finding(boxes[index], float(scores[index]), masks[index])
            for index in np.argsort(-scores, kind="stable")
        ]

    def _check_length(self, phrase: str) -> None:
        tokenizer = self._processor.tokenizer
        most = min(tokenizer.model_max_length, MOST_TOKENS)
        if len(tokenizer(phrase, verbose=False)["input_ids"]) > most:
            raise Refusal(
                "prompt", f"{phrase[:40]!r}… is longer than the text model reads: use fewer words"
            )


def check_source(source: str) -> None:
    """SettingsError unless it is a folder with a known model, or may be a name on the hub."""
    model_source.check(_SETTING, source, KINDS)


def _load(source: str) -> tuple[Any, Any, str]:
    """The model, its processor and its kind."""
    import_torchvision()
    transformers = importlib.import_module("transformers")
    folder = Path(source).expanduser()
    place = str(folder) if folder.is_dir() else source
    try:
        kind = transformers.AutoConfig.from_pretrained(place).model_type
        model_source.check_kind(_SETTING, source, kind, KINDS)
        processor = transformers.AutoProcessor.from_pretrained(place)
        # Only safetensors, because pickles can run code.
        model = getattr(transformers, KINDS[kind][0]).from_pretrained(place, use_safetensors=True)
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())[:200]
        raise SettingsError(f"SAM_TEXT_MODEL={source!r} cannot be loaded: {problem}") from None
    return model.eval().requires_grad_(requires_grad=False), processor, kind
