"""Masks that any worker can make again from their prompts.

An answer is its prompt, and which of the alternatives was chosen after the first point. So nothing
else need be kept of it, and any worker can continue from it. The states of recent answers save
decodes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import orjson

from sam_backend.clicks.objects import Recent
from sam_backend.clicks.segmenter import DecodeState, ObjectPrompt, other_states
from sam_backend.errors import Refusal
from sam_backend.programs import prompts
from sam_backend.programs.image import EmbeddedImage
from sam_backend.programs.mask import MOST_ALTERNATIVES, ObjectMask

KEPT_STATES = 64 << 20  # bytes: of 256 KB each, 1.3 MB after a single point


@dataclass(frozen=True)
class Answered:
    """An answer: the prompt that its mask follows from, and the chosen alternative."""

    prompt: ObjectPrompt
    alternative: int | None = None  # of those after the first point

    def to_json(self) -> bytes:
        box = None if self.prompt.box is None else self.prompt.box.tolist()
        points, labels = self.prompt.points.tolist(), self.prompt.labels.tolist()
        return orjson.dumps([points, labels, box, self.alternative])

    @classmethod
    def from_json(cls, text: bytes, image: EmbeddedImage) -> Answered:
        """From what `to_json` wrote. ValueError or TypeError for anything else."""
        points, labels, box, alternative = orjson.loads(text)
        prompt = prompted(image, points, labels, box).prompt
        if not isinstance(alternative, int | None) or (alternative or 0) < 0:
            raise TypeError(f"{alternative!r} is not an alternative")
        return cls(prompt, alternative)


class Answers:
    """Makes masks, and remembers the states that led to them."""

    def __init__(self) -> None:
        self._states: Recent[DecodeState] = Recent(KEPT_STATES)

    def mask(self, image: EmbeddedImage, asked: Answered) -> ObjectMask:
        """The mask of an answer."""
        return image.answer(asked.prompt, self.state(image, asked))

    def state(self, image: EmbeddedImage, asked: Answered) -> DecodeState:
        """The mask of an answer, at low resolution.

        Each decode is kept, also if a later one is refused.
        """
        prompt, alternative = asked.prompt, asked.alternative
        prompts.check_is_on_object(prompt)

        def keep(state: DecodeState) -> None:
            self._states.put(_key(image, state.prompt, alternative), state)

        state = self._longest(image, asked)
        if state is None and alternative is not None:
            first = self.state(image, Answered(prompt.first(1)))
            state = _chosen(image, first, alternative)
        return image.decoded(prompt, state, keep)

    def _longest(self, image: EmbeddedImage, asked: Answered) -> DecodeState | None:
        """The state that answers most of a prompt's start."""
        for count in range(len(asked.prompt.points), -1, -1):
            key = _key(image, asked.prompt.first(count), asked.alternative)
            if (state := self._states.get(key)) is not None:
                return state
        return None


def prompted(image: EmbeddedImage, points: Any, labels: Any, box: Any) -> Answered:
    """An answer to points and a box, which are checked."""
    return Answered(prompts.object_prompt(image.width, image.height, points, labels, box))


def continued(earlier: Answered, prompt: ObjectPrompt) -> Answered:
    """An earlier answer with further points."""
    return Answered(prompts.added(earlier.prompt, prompt), earlier.alternative)


def _chosen(image: EmbeddedImage, first: DecodeState, alternative: int) -> DecodeState:
    others = other_states(first, image.embedding, MOST_ALTERNATIVES)
    if alternative >= len(others):
        raise Refusal("prompt", "the alternative is not there any more: segment the object again")
    return others[alternative]


def _key(image: EmbeddedImage, prompt: ObjectPrompt, alternative: Any) -> Hashable:
    box = b"" if prompt.box is None else prompt.box.tobytes()
    points, labels = prompt.points.tobytes(), prompt.labels.tobytes()
    return image.embedding.digest, points, labels, box, alternative
