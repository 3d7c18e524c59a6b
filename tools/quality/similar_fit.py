"""Fits the likeness by which the rest of a kind is found, and prints its weights.

    python -m tools.quality.similar_fit FOLDER [--most N] [--cache FOLDER] [--rounds N] [--measure]

FOLDER is as for `tools.quality.similar`. Each round searches all pictures with the weights of the
round before, because these decide where the next point lies. A logistic model then learns which of
the masks that were seen have an IoU of at least .5 with an object of the label. It learns from the
searches that offer something, and each of them counts the same. `--measure` prints two tables of
searches with weights that were fitted to other pictures: to the other half of each domain, and to
the other domains.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sam_backend.clicks import similar
from sam_backend.clicks.likeness import Looks, Tokens
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Engine
from sam_backend.formats.mask import Mask
from sam_backend.shared.click_budget import DECODES_A_SEARCH
from tools.quality.rules import served
from tools.quality.similar_pictures import Picture, add_arguments, halves, pictures_in, stacked
from tools.quality.similar_report import report
from tools.quality.similar_searches import ONE, SAME, outcomes
from tools.quality.targets import embed

PENALTY = 3.0  # on the squares of the weights of standardised features
STEPS = 30  # of Newton's method

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """The masks of one point: their features, and which of them are right."""

    features: Array  # (N, 5)
    right: npt.NDArray[np.bool_]  # (N,)


@dataclass
class Search:
    """All masks that a search saw."""

    picture: Picture
    seen: list[Seen] = field(default_factory=list)
    offers: bool = False


class Recording(similar.Kind):
    """Likeness that notes what it is asked."""

    def __init__(self, tokens: Tokens, examples: Mask, others: Mask, search: Search) -> None:
        super().__init__(tokens, tokens.looks(examples), None)
        self._known, self._others, self._search = examples.any(axis=0), others, search
        self._last = np.zeros(0)

    def likeness(self, masks: Mask, scores: Floats, stabilities: Floats) -> tuple[Floats, Looks]:
        found = super().likeness(masks, scores, stabilities)
        is_new = [
            (mask & self._known).sum() <= 0.5 * min(mask.sum(), self._known.sum()) for mask in masks
        ]
        right = np.array(
            [max(_iou(mask, other) for other in self._others) >= SAME for mask in masks]
        )
        self._search.seen.append(Seen(self._last[is_new], right[is_new]))
        return found

    def features(self, looks: Looks, scores: Floats, stabilities: Floats) -> Floats:
        found = super().features(looks, scores, stabilities)
        self._last = found[:, 0].astype(np.float64)
        return found


def searched(engine: Engine, picture: Picture, cache: Path | None) -> Search:
    """What a search from one example sees."""
    embedding = embed(engine, picture.pixels, cache)
    truths = stacked(picture.truths)
    search = Search(picture)
    examples = truths[:1]
    kind = Recording(Tokens(embedding), examples, truths[1:], search)
    found = similar.candidates(engine, embedding, kind, examples, DECODES_A_SEARCH)
    search.offers = bool(similar.offered(found, kind))
    return search


def fitted(searches: Sequence[Search]) -> tuple[Array, float]:
    """The weights of the features and the bias, from the searches that offer something."""
    searches = [each for each in searches if each.offers] or searches
    parts = [(s.features, s.right, len(each.seen)) for each in searches for s in each.seen]
    features = np.concatenate([part for part, _, _ in parts])
    right = np.concatenate([part for _, part, _ in parts]).astype(np.float64)
    shares = np.concatenate([np.full(len(part), 1 / count) for _, part, count in parts])
    shares *= len(shares) / shares.sum()
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    columns = np.column_stack([(features - middle) / spread, np.ones(len(features))])
    penalty = np.append(np.full(features.shape[1], PENALTY), 1e-6)
    weights = np.zeros(columns.shape[1])
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-columns @ weights))
        slope = columns.T @ (shares * (likely - right)) + penalty * weights
        bend = (columns.T * (shares * likely * (1 - likely))) @ columns + np.diag(penalty)
        weights -= np.linalg.solve(bend, slope)
    return weights[:-1] / spread, float(weights[-1] - (weights[:-1] * middle / spread).sum())


def use(weights: Array, bias: float) -> None:
    """Searches with these weights from now on."""
    similar.WEIGHTS, similar.BIAS = weights.astype(np.float32), np.float32(bias)


def _iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def held_out(
    searches: Sequence[Search], every: Sequence[Picture], of_domains: bool
) -> Iterator[tuple[list[Search], list[Picture]]]:
    """What to fit to, and the pictures to measure; each picture is measured once."""
    folds: list[object] = [each.domain for each in every] if of_domains else [*halves(every)]
    for fold in dict.fromkeys(folds):
        yield (
            [search for search, own in zip(searches, folds, strict=True) if own != fold],
            [picture for picture, own in zip(every, folds, strict=True) if own == fold],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Fits the likeness of objects of a kind.")
    add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--measure", action="store_true", help="measure what was not fitted")
    options = parser.parse_args()
    name, engine = served()
    every = pictures_in(options.folder, None, options.most)
    searches: list[Search] = []
    for number in range(1, options.rounds + 1):
        searches = [searched(engine, picture, options.cache) for picture in every]
        weights, bias = fitted(searches)
        use(weights, bias)
        print(f"round {number}: {weights.round(3).tolist()}, {bias:.3f}", flush=True)
    if options.measure:
        for of_domains in (False, True):
            measured = []
            for others, pictures_out in held_out(searches, every, of_domains):
                use(*fitted(others))
                for picture in pictures_out:
                    measured.append((picture, outcomes(engine, picture, options.cache)))
                    print(picture.name, measured[-1][1][ONE], file=sys.stderr, flush=True)
            fitted_to = "the other domains" if of_domains else "the other half of each domain"
            print(report(f"{name}, fitted to {fitted_to}", measured), flush=True)


if __name__ == "__main__":
    main()
