"""Engines around another engine: they count its work, save it, or take something from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.pictures import Pixels


class Wrapper:
    """Passes everything on to another engine."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.facts = engine.name, engine.facts
        self._engine = engine

    def encode(self, image: Pixels) -> Embedding:
        return self._engine.encode(image)

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        return self._engine.decode(embedding, points, labels, box, mask_input)


class Counted(Wrapper):
    """Counts its encodes and decodes."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.encodes = self.decodes = 0

    def encode(self, image: Pixels) -> Embedding:
        self.encodes += 1
        return super().encode(image)

    def decode(self, embedding: Embedding, *prompt: Any, **named: Any) -> tuple[Floats, Floats]:
        self.decodes += 1
        return super().decode(embedding, *prompt, **named)


class OncePerQuestion(Wrapper):
    """Works out the first question once, which both rules ask."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._known: dict[tuple[bytes, ...], tuple[Floats, Floats]] = {}

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        if mask_input is not None or len(points) > 1:
            return super().decode(embedding, points, labels, box, mask_input)
        key = points.tobytes(), labels.tobytes(), b"" if box is None else box.tobytes()
        if key not in self._known:
            self._known[key] = super().decode(embedding, points, labels, box)
        return self._known[key]


class WithoutFeedback(Wrapper):
    """A model as if it took neither negative points nor an earlier mask, as EfficientSAM is."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.facts = replace(engine.facts, refines=False)

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,  # noqa: ARG002 (this is what it does not take)
    ) -> tuple[Floats, Floats]:
        positive = labels > 0
        return super().decode(embedding, points[positive], labels[positive], box)
