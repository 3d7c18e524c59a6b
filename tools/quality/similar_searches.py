"""Searches for the rest of a kind in pictures of which all objects are known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_backend.clicks import similar
from sam_backend.clicks.everything import Proposal
from sam_backend.clicks.find_rest import MOST_EXAMPLES
from sam_backend.engines.protocol import Engine
from sam_backend.formats.mask import Mask
from sam_backend.shared.click_budget import DECODES_A_SEARCH
from tools.quality.engines import Counted
from tools.quality.mask_scores import iou
from tools.quality.similar_pictures import Picture, stacked
from tools.quality.targets import embed

SAME = 0.5  # intersection over union
ONE, AGAIN, THREE = "1 example", "and one round of rejections", "3 examples"


@dataclass(frozen=True)
class Outcome:
    """One search: how many are right, of how many offered and wanted, and what it took."""

    right: int
    offered: int
    wanted: int
    decodes: int
    seconds: float  # of all processors

    @property
    def f1(self) -> float:
        return 2 * self.right / max(1, self.offered + self.wanted)


def matched(found: Sequence[Mask], truths: Sequence[Mask]) -> list[int | None]:
    """The object that each mask shows, by number. Each object counts once."""
    left = dict(enumerate(truths))
    numbers: list[int | None] = []
    for mask in found:
        overlaps = {number: iou(mask, truth) for number, truth in left.items()}
        best = max(overlaps, key=lambda number: overlaps[number], default=None)
        is_right = best is not None and overlaps[best] >= SAME
        numbers.append(best if is_right else None)
        if is_right and best is not None:
            del left[best]
    return numbers


def outcomes(engine: Engine, picture: Picture, cache: Path | None) -> dict[str, Outcome]:
    """One example, three examples, and one example with the wrong answers as counter-examples.

    The examples are masks that the annotator has accepted, so they need no decodes.
    """
    counting = Counted(engine)
    embedding = embed(engine, picture.pixels, cache)
    truths = picture.truths

    def search(
        examples: Sequence[Mask], wanted: Sequence[Mask], counter: Sequence[Mask] = ()
    ) -> tuple[Outcome, list[Mask], list[Mask]]:
        """The outcome, and the masks that are right and wrong."""
        before, started = counting.decodes, time.process_time()
        named, others = stacked(examples[-MOST_EXAMPLES:]), stacked(counter)
        most = DECODES_A_SEARCH - len(counter)
        found = masks(similar.rest(counting, embedding, named, others, stacked(examples), most))
        seconds = time.process_time() - started
        numbers = matched(found, wanted)
        right = [mask for mask, number in zip(found, numbers, strict=True) if number is not None]
        wrong = [mask for mask, number in zip(found, numbers, strict=True) if number is None]
        took = counting.decodes - before, seconds
        return Outcome(len(right), len(found), len(wanted), *took), right, wrong

    first, wanted = truths[:1], truths[1:]
    outcome, right, wrong = search(first, wanted)
    # The annotator keeps what is right, rejects the rest, and asks again.
    missing = [truth for truth in wanted if all(iou(mask, truth) < SAME for mask in right)]
    more, _, _ = search([*first, *right], missing, wrong[: DECODES_A_SEARCH // 2])
    again = Outcome(
        outcome.right + more.right,
        outcome.right + more.offered,
        outcome.wanted,
        more.decodes,
        more.seconds,
    )
    three, _, _ = search(truths[:3], truths[3:])
    return {ONE: outcome, AGAIN: again, THREE: three}


def masks(found: Iterable[Proposal]) -> list[Mask]:
    return [proposal.mask for proposal in found]
