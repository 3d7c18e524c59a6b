"""An image that was embedded once, to be segmented many times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from sam_backend.clicks import everything, segmenter, similar
from sam_backend.clicks.everything import Level
from sam_backend.clicks.segmenter import DecodeState, ObjectPrompt
from sam_backend.engines.frame import LOW_RES_SIDE, Floats
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
    ) -> ObjectMask:
        """The mask that a prompt means, from a state that answered its start."""
        found = segmenter.segment(self._engine, self.embedding, prompt, state)
        return ObjectMask(found.mask, found.score, self.embedding, found.state)

    def decoded(
        self,
        prompt: ObjectPrompt,
        state: DecodeState | None = None,
        keep: Callable[[DecodeState], object] = lambda _state: None,
    ) -> DecodeState:
        """The answer at low resolution, which takes a fraction of the time for a large image."""
        return segmenter.decoded(self._engine, self.embedding, prompt, state, keep)

    def everything(
        self,
        *,
        most: int = everything.MOST,
        min_score: float = everything.MIN_IOU,
        grid: int = everything.GRID,
        level: Level = "all",
    ) -> Iterator[ObjectMask]:
        """The masks of all that the model sees in the image, best first.

        most: the number of masks at most. min_score: the least score of a mask. grid:
        the number of points along each side. level: which sizes of masks, `all`, `whole`, `part`
        or `subpart`.
        """
        if level not in everything.LEVELS:
            raise ValueError(f"level {level!r} is not one of {', '.join(everything.LEVELS)}")
        found = everything.proposals(
            self._engine, self.embedding, level=level, grid=grid, min_iou=min_score, most=most
        )
        for proposal in found:
            yield ObjectMask(proposal.mask, proposal.score, self.embedding)

    def find_similar(
        self,
        masks: Sequence[ObjectMask | Mask],
        negatives: Sequence[ObjectMask | Mask] = (),
        *,
        taken: Sequence[ObjectMask | Mask] = (),
        most: int = similar.MOST_DECODES,
    ) -> Iterator[ObjectMask]:
        """The masks of the other objects that are like some examples, best first.

        masks: the examples, of this image; an array has the shape (H, W). negatives: objects of
        another kind. taken: masks of objects that need no further one. most: the number of masks at
        most. The score of a mask is its likeness, 0 to 1.
        """
        examples, others, there = (self._low_res(some) for some in (masks, negatives, taken))
        return self.like(examples, others, there, most)

    def like(
        self,
        examples: Mask,
        negatives: Mask,
        taken: Mask,
        most: int,
        decodes: int = similar.MOST_DECODES,
    ) -> Iterator[ObjectMask]:
        """What `find_similar` returns, of low-res masks (N, 256, 256)."""
        prompts.check_is_example(examples)
        found = similar.rest(self._engine, self.embedding, examples, negatives, taken, decodes)
        return (
            ObjectMask(proposal.mask, proposal.score, self.embedding)
            for proposal in islice(found, most)
        )

    def _low_res(self, masks: Sequence[ObjectMask | Mask]) -> Mask:
        """Masks of this image in the low-res square (N, 256, 256)."""
        sample = self.embedding.frame.sample
        return low_res([sample(self._own(mask)) for mask in masks])

    def _own(self, mask: ObjectMask | Mask) -> Mask:
        """The array of a mask, which must be one of this image."""
        if isinstance(mask, ObjectMask):
            if mask.embedding is not self.embedding:
                raise ValueError("the mask belongs to another image")
            return mask.array
        if mask.shape != (self.height, self.width):
            raise ValueError(
                f"the mask has the shape {mask.shape}, and the image {(self.height, self.width)}"
            )
        return mask

    def _state(self, refine: ObjectMask | Mask) -> DecodeState:
        array = self._own(refine)
        if isinstance(refine, ObjectMask) and refine.state is not None:
            return refine.state
        return segmenter.resume(self.embedding.frame.shrink(_logits(array), -_CERTAIN))

    def __repr__(self) -> str:
        return f"<EmbeddedImage {self.name or 'without a name'}, {self.width}x{self.height}>"


def low_res(masks: Sequence[Mask]) -> Mask:
    """Low-res masks as one array (N, 256, 256), also if there are none."""
    found: Mask = np.array(masks, bool).reshape(-1, LOW_RES_SIDE, LOW_RES_SIDE)
    return found


def _logits(mask: Mask) -> Floats:
    """Logits (H, W) of a mask (H, W)."""
    logits: Floats = np.where(mask, np.float32(_CERTAIN), np.float32(-_CERTAIN))
    return logits
