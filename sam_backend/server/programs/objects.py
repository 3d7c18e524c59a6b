"""The objects that programs point at: their masks, and the ids of these answers."""

from __future__ import annotations

from typing import Protocol

from sam_backend import metrics
from sam_backend.errors import Refusal
from sam_backend.programs.answers import Answered, Answers, continued, prompted
from sam_backend.programs.mask import ObjectMask
from sam_backend.server.programs import problems
from sam_backend.server.programs.fields import ObjectFields
from sam_backend.server.programs.kept_images import KeptImage
from sam_backend.shared.program_ids import KnownAnswer


class AnswerIds(Protocol):
    """The ids of answers, and the images that these are about."""

    def content(self, image_id: str) -> str | None: ...

    def add_answers(self, image_id: str, values: list[bytes]) -> list[str]: ...

    def answer(self, answer_id: str) -> KnownAnswer | None: ...


class Objects:
    """Makes the masks of objects, from their points and boxes or from an earlier answer."""

    def __init__(self, ids: AnswerIds) -> None:
        self._ids = ids
        self.answers = Answers()

    def mask(self, kept: KeptImage, asked: ObjectFields) -> ObjectMask:
        return self._mask(kept, self.answered(kept, asked))

    def with_alternatives(
        self, kept: KeptImage, asked: ObjectFields, count: int
    ) -> list[tuple[str, ObjectMask]]:
        """The mask of an object and `count` alternatives at most, each with its id."""
        which = self.answered(kept, asked)
        mask = self._mask(kept, which)
        others = mask.alternatives[:count] if count else ()
        values = [which, *(Answered(which.prompt, n) for n in range(len(others)))]
        ids = self._ids.add_answers(kept.id, [value.to_json() for value in values])
        return list(zip(ids, (mask, *others), strict=True))

    def answered(self, kept: KeptImage, asked: ObjectFields) -> Answered:
        """What the mask of an object follows from."""
        prompt = prompted(kept.image, asked.points, asked.labels, asked.box)
        if asked.mask_input is None:
            return prompt
        return continued(self._earlier(kept, asked.mask_input), prompt.prompt)

    def _mask(self, kept: KeptImage, which: Answered) -> ObjectMask:
        with metrics.STAGE.labels("decode").time():
            return self.answers.mask(kept.image, which)

    def _earlier(self, kept: KeptImage, answer_id: str) -> Answered:
        """What an earlier answer about the same picture follows from."""
        known = self._ids.answer(answer_id)
        content = known and self._ids.content(known.image_id)
        if known is None or content is None or content != self._ids.content(kept.id):
            raise problems.unknown_answer()
        try:
            return Answered.from_json(known.value, kept.image)
        except (ValueError, TypeError, Refusal):  # another program wrote into the common store
            raise problems.unknown_answer() from None
