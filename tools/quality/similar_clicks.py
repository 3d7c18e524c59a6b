"""How many actions a picture takes with a search for the rest of a kind, and without one.

The annotator clicks as people do, on one object, until its mask is good. Without the search, the
other objects follow in the same way. With it, one click on the first mask suggests the rest. A
suggestion of no object, or of one that has a mask, takes one action to delete. A suggestion below
the level is corrected by clicks on its mask. Objects without a suggestion are clicked. Both ways
end at the same level, and an object that does not reach it takes as many clicks as allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from sam_backend.clicks import similar
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.engines.protocol import Engine
from sam_backend.errors import Refusal
from sam_backend.formats import rle
from sam_backend.formats.mask import Mask
from sam_backend.shared.click_budget import DECODES_A_SEARCH
from tools.quality.click_protocol import HUMAN_LIKE, MAX_CLICKS, Click, first_click, next_click
from tools.quality.mask_scores import iou
from tools.quality.similar_pictures import Picture, stacked
from tools.quality.similar_searches import masks, matched
from tools.quality.targets import embed

LEVELS = 0.8, 0.85  # the IoU at which an annotator is content
LABEL = "kind"


@dataclass(frozen=True)
class Drawn:
    """A mask, what it took, and how good it is."""

    mask: Mask
    actions: int
    iou: float


@dataclass(frozen=True)
class Effort:
    """The actions for all objects of a picture, and how good their masks are on average."""

    objects: int
    alone: int
    alone_iou: float
    searched: int
    searched_iou: float


class Annotator:
    """Someone who clicks in one picture until each mask reaches a level."""

    def __init__(self, engine: Engine, picture: Picture, cache: Path | None) -> None:
        self._engine, self._picture = engine, picture
        self.embedding = embed(engine, picture.pixels, cache)
        height, width = picture.pixels.shape[:2]
        self._target = Target("image", None, (LABEL,), width, height, rotation=0)
        self._objects = Objects()
        self._drawn: dict[int, list[Drawn]] = {}

    def drawn(self, number: int, level: float) -> Drawn:
        """An object that has no mask."""
        if number not in self._drawn:
            self._drawn[number] = list(self._clicked(number))
        seen = self._drawn[number]
        return next((each for each in seen if each.iou >= level), seen[-1])

    def _clicked(self, number: int) -> Iterator[Drawn]:
        """The masks of an object after each click."""
        truth, random = self._picture.truths[number], self._picture.random(f"click {number}")
        clicks = [first_click(truth, HUMAN_LIKE, random)]
        while True:
            _, mask = self._answer(clicks, {})
            found = Drawn(mask, len(clicks), iou(mask, truth))
            yield found
            if found.iou >= max(LEVELS) or len(clicks) == MAX_CLICKS:
                return
            click = next_click(mask, truth, HUMAN_LIKE, random)
            assert click is not None  # noqa: S101 (the mask differs)
            clicks.append(click)

    def corrected(self, number: int, mask: Mask, level: float) -> Drawn:
        """An object with a suggestion. If a click starts a new mask, the suggestion is deleted."""
        truth, random = self._picture.truths[number], self._picture.random(f"correction {number}")
        task, seen, clicks, actions = self._task(mask), mask, list[Click](), 0
        while iou(seen, truth) < level and actions < MAX_CLICKS:
            click = next_click(seen, truth, HUMAN_LIKE, random)
            assert click is not None  # noqa: S101 (the mask differs)
            actions += 1
            try:
                region, answer = self._answer([*clicks, click], task)
            except Refusal:  # a first click that should cut the mask lies beside it
                continue
            if region != LABEL:
                again = self.drawn(number, level)
                return Drawn(again.mask, actions + 1 + again.actions, again.iou)
            clicks.append(click)
            seen = answer
        return Drawn(seen, actions, iou(seen, truth))

    def _answer(self, clicks: Sequence[Click], task: dict[str, Any]) -> tuple[str, Mask]:
        """The id and the mask of the region that the clicks draw."""
        width, height = self._target.size
        group = [
            Prompt(str(i), 100 * c.x / width, 100 * c.y / height, is_positive=c.positive)
            for i, c in zip(count(), clicks, strict=False)
        ]
        [(region, answer)] = self._objects.segment(
            self._engine, self.embedding, task, self._target, group, ()
        )
        return region, answer.mask

    def _task(self, mask: Mask) -> dict[str, Any]:
        """A task with one accepted mask."""
        region = {
            "id": LABEL,
            "type": "brushlabels",
            "from_name": "mask",
            "to_name": "image",
            "original_width": self._target.width,
            "original_height": self._target.height,
            "value": {"format": "rle", "rle": rle.encode(mask), "brushlabels": [LABEL]},
        }
        return {"annotations": [{"id": 1, "result": [region]}]}


def efforts(engine: Engine, picture: Picture, cache: Path | None) -> dict[float, Effort]:
    """The actions for a picture at each level, without a search and with one."""
    annotator = Annotator(engine, picture, cache)
    return {level: _effort(engine, annotator, picture, level) for level in LEVELS}


def _effort(engine: Engine, annotator: Annotator, picture: Picture, level: float) -> Effort:
    truths = picture.truths
    alone = [annotator.drawn(number, level) for number in range(len(truths))]
    example = stacked([alone[0].mask])
    found = masks(
        similar.rest(engine, annotator.embedding, example, None, example, DECODES_A_SEARCH)
    )
    together, deleted = list(alone), 0
    for mask, number in zip(found, matched(found, truths[1:]), strict=True):
        if number is None:
            deleted += 1
        else:
            together[number + 1] = annotator.corrected(number + 1, mask, level)
    return Effort(
        len(truths),
        sum(each.actions for each in alone),
        float(np.mean([each.iou for each in alone])),
        sum(each.actions for each in together) + deleted + 1,  # the click that searches
        float(np.mean([each.iou for each in together])),
    )
