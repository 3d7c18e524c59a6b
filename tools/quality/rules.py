"""The two rules that `tools.quality` compares, and the model that both of them ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam_backend.clicks.segmenter import DecodeState, ObjectPrompt, segment
from sam_backend.engines.choice import check, open_engine, plan
from sam_backend.engines.frame import Floats, Frame
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask
from sam_backend.settings import Settings
from tools.quality.click_protocol import Click


class Ours:
    """One object being annotated with this back end's rule."""

    def __init__(self, engine: Engine, embedding: Embedding) -> None:
        self._engine = engine
        self._embedding = embedding
        self._state: DecodeState | None = None

    def __call__(self, prompt: ObjectPrompt) -> Mask:
        answer = segment(self._engine, self._embedding, prompt, self._state)
        self._state = answer.state
        return answer.mask


class Example:
    """The same with the rule of HumanSignal's example: all clicks at once, one mask token."""

    def __init__(self, engine: Engine, embedding: Embedding) -> None:
        self._engine = engine
        self._embedding = embedding

    def __call__(self, prompt: ObjectPrompt) -> Mask:
        logits, _ = self._engine.decode(self._embedding, prompt.points, prompt.labels, prompt.box)
        return Frame(self._embedding.height, self._embedding.width).upsample(logits[0]) > 0


def as_prompt(clicks: Sequence[Click], box: Floats | None = None) -> ObjectPrompt:
    points = np.array([(click.x, click.y) for click in clicks], np.float32).reshape(-1, 2)
    return ObjectPrompt(points, np.array([click.positive for click in clicks], np.float32), box)


def served() -> tuple[str, Engine]:
    """The model that the server would load with these settings, and what to call it."""
    chosen = plan(Settings.from_environment())
    check(chosen)
    return f"{chosen.name}, {chosen.runtime}", open_engine(chosen)
