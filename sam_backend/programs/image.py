"""An image that was embedded once, to be segmented many times."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sam_backend.clicks import everything, segmenter
from sam_backend.clicks.everything import Level
from sam_backend.clicks.segmenter import DecodeState, ObjectPrompt
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask
from sam_backend.programs import prompts
from sam_backend.programs.mask import ObjectMask
from sam_backend.programs.prompts import Box, Labels, Points

_CERTAIN = 8.0  # the logit of a pixel that is in the mask


class EmbeddedImage:
    """An image and its embedding. It never changes, so threads may share it."""

    def __init__(self, engine: Engine, embedding: Embedding, name: str = "") -> None:
        self._engine = engine
        self.embedding = embedding
        """What the encoder made of the image."""
        self.name = name
        """The name of the image's file, or an empty string."""

    @property
    def width(self) -> int:
        """In pixels."""
        return self.embedding.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.embedding.height

    def segment(
        self,
        points: Points | None = None,
        labels: Labels | None = None,
        box: Box | None = None,
        *,
        refine: ObjectMask | Mask | None = None,
    ) -> ObjectMask:
        """The mask of one object.

        points: x, y in image pixels, in the order in which a person would click. labels: 1 for a
        point on the object (the default), 0 for a point that is not on it. box: left, top, right,
        bottom. refine: an earlier mask of this image, or an array (H, W), to which the points are
        added.
        """
        prompt = prompts.object_prompt(self.width, self.height, points, labels, box)
        state = None if refine is None else self._state(refine)
        if state is None:
            prompts.check_is_on_object(prompt)
        else:
            prompt = prompts.added(state.prompt, prompt)
        return self.answer(prompt, state)

    def answer(
        self,
        prompt: ObjectPrompt,
        state: DecodeState | None = None,
        keep: Callable[[DecodeState], object] = lambda _state: None,
    ) -> ObjectMask:
        """The mask that a prompt means, from a state that answered its start.

        `keep` gets the state after each decode.
        """
        found = segmenter.segment(self._engine, self.embedding, prompt, state, keep)
        return ObjectMask(found.mask, found.score, self.embedding, found.state)

    def everything(
        self,
        *,
        most: int = everything.MOST,
        min_score: float = everything.MIN_IOU,
        grid: int = everything.GRID,
        level: Level = "all",
    ) -> Iterator[ObjectMask]:
        """The masks of all that the model sees in the image, best first.

        most: the number of masks at most. min_score: what the model must think of a mask. grid:
        the number of points along each side. level: which sizes of masks, `all`, `whole`, `part`
        or `subpart`.
        """
        found = everything.proposals(
            self._engine, self.embedding, level=level, grid=grid, min_iou=min_score, most=most
        )
        for proposal in found:
            yield ObjectMask(proposal.mask, proposal.score, self.embedding)

    def _state(self, refine: ObjectMask | Mask) -> DecodeState:
        if isinstance(refine, ObjectMask):
            if refine.embedding is not self.embedding:
                raise ValueError("the mask to refine is of another image")
            if refine.state is not None:
                return refine.state
            refine = refine.array
        if refine.shape != (self.height, self.width):
            raise ValueError(
                f"the mask to refine has the shape {refine.shape}, and the image "
                f"{(self.height, self.width)}"
            )
        return segmenter.resume(self.embedding.frame.shrink(_logits(refine), -_CERTAIN))

    def __repr__(self) -> str:
        return f"<EmbeddedImage {self.name or 'without a name'}, {self.width}x{self.height}>"


def _logits(mask: Mask) -> Floats:
    """Logits (H, W) of a mask (H, W)."""
    logits: Floats = np.where(mask, np.float32(_CERTAIN), np.float32(-_CERTAIN))
    return logits
