"""An engine that answers with discs, in place of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sam_backend.clicks.segmenter import ObjectPrompt
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import SAM, Embedding, Facts
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels
from tools.quality.click_protocol import Click
from tools.quality.rules import as_prompt

IMAGE = Embedding(np.zeros((1, 1, 1, 1), np.float32), height=512, width=512)


def disc(x: float, y: float, radius: float) -> Floats:
    """Low-res logits: 8 inside a disc given in image pixels, -8 outside."""
    rows, columns = np.indices((256, 256)) * 2 + 1
    inside = np.hypot(columns - x, rows - y) <= radius
    return np.where(inside, 8, -8).astype(np.float32)


def nothing() -> Floats:
    return np.full((256, 256), -8, np.float32)


def disc_mask(x: float, y: float, radius: float) -> Mask:
    rows, columns = np.indices((512, 512))
    inside: Mask = np.hypot(columns - x, rows - y) <= radius
    return inside


@dataclass
class FakeEngine:
    """Answers with the masks it was given, one set a decode, the last set again and again."""

    answers: list[tuple[Floats, list[float]]]
    name: str = "fake"
    facts: Facts = SAM
    feedback: list[Floats | None] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)

    def encode(self, image: Pixels) -> Embedding:
        raise AssertionError("a segmenter never encodes")

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        # By the number of clicks, as a real engine answers the same question the same way.
        logits, scores = self.answers[min(max(len(points) - 1, 0), len(self.answers) - 1)]
        self.feedback.append(mask_input)
        self.prompts.append(len(points))
        return logits, np.array(scores, np.float32)


def engine(*answers: list[Floats]) -> FakeEngine:
    return FakeEngine([(np.stack(masks), [0.9] * 4) for masks in answers])


def prompt(*clicks: tuple[int, int, bool], box: list[float] | None = None) -> ObjectPrompt:
    placed = [Click(x, y, positive) for x, y, positive in clicks]
    return as_prompt(placed, None if box is None else np.array(box, np.float32))
