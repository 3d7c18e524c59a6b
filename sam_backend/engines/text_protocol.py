"""The protocol of models that find what a phrase names. `text_model` has the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sam_backend.engines.frame import Floats
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels


@dataclass(frozen=True)
class Finding:
    """An object that a phrase names."""

    box: Floats  # (4,) x0, y0, x1, y1 in pixels of the image
    score: float  # 0 to 1
    mask: Mask | None = None  # (H, W), from a model that makes masks


class Finder(Protocol):
    """A model that finds what a phrase names."""

    def find(self, image: Pixels, phrase: str) -> list[Finding]:
        """The objects in an image (H, W, 3) that a phrase names, best first."""
        ...
