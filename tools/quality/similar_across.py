"""Searches with examples of other pictures of the same label."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sam_backend.clicks import similar
from sam_backend.clicks.find_rest import MOST_EXAMPLES
from sam_backend.clicks.likeness import Looks, Tokens, together
from sam_backend.engines.protocol import Engine
from tools.quality.engines import Counted
from tools.quality.similar_pictures import Picture, stacked
from tools.quality.similar_searches import Outcome, masks, matched
from tools.quality.targets import embed

PICTURES = 1, 3, 8  # that the examples are in


def kinds() -> list[str]:
    return [f"{count} other picture{'s' * (count > 1)}" for count in PICTURES]


def searches(
    engine: Engine, wanted: Sequence[Picture], every: Sequence[Picture], cache: Path | None
) -> Iterator[tuple[Picture, dict[str, Outcome]]]:
    """Searches in each wanted picture with examples of 1, 3 and 8 of all pictures, if there are."""
    known: dict[str, Looks] = {}
    for picture in wanted:
        others = [p for p in every if _are_alike(p, picture)]
        drawn = picture.random("others").permutation(len(others))
        found = {}
        for kind, count in zip(kinds(), PICTURES, strict=True):
            if count > len(others):
                continue
            some = [others[i] for i in drawn[:count]]
            each = -(-MOST_EXAMPLES // count)
            for other in some:
                if other.name not in known:
                    known[other.name] = _looks(engine, other, cache)
            examples = [known[other.name].some(slice(each)) for other in some]
            found[kind] = _outcome(engine, picture, together(examples), cache)
        if found:
            print(picture.name, found, file=sys.stderr, flush=True)
            yield picture, found


def _are_alike(one: Picture, other: Picture) -> bool:
    return (one.domain, one.label) == (other.domain, other.label) and one.name != other.name


def _looks(engine: Engine, picture: Picture, cache: Path | None) -> Looks:
    """The looks of as many objects of a picture as a search takes."""
    tokens = Tokens(embed(engine, picture.pixels, cache))
    return tokens.looks(stacked(picture.truths[:MOST_EXAMPLES]))


def _outcome(engine: Engine, picture: Picture, examples: Looks, cache: Path | None) -> Outcome:
    counting, embedding = Counted(engine), embed(engine, picture.pixels, cache)
    none, started = stacked([]), time.process_time()
    found = masks(similar.rest(counting, embedding, none, elsewhere=examples))
    seconds = time.process_time() - started
    right = [number for number in matched(found, picture.truths) if number is not None]
    return Outcome(len(right), len(found), len(picture.truths), counting.decodes, seconds)
