"""Fits the likeness by which the rest of a kind is found, and prints its weights.

    python -m tools.quality.similar_fit FOLDER [--cache FOLDER] [--rounds N] [--measure]

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
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sam_backend.clicks import similar
from sam_backend.clicks.everything import SPECK
from sam_backend.clicks.likeness import Looks, Tokens
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Engine
from sam_backend.formats.mask import Mask
from tools.quality.rules import served
from tools.quality.similar import SAME, Picture, low_res, measure, pictures, report
from tools.quality.targets import embed, targets_in

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

    domain: str
    picture: str
    seen: list[Seen] = field(default_factory=list)
    offers: bool = False


class Recording(similar.Kind):
    """Likeness that notes what it is asked."""

    def __init__(self, tokens: Tokens, examples: Mask, others: Mask, search: Search) -> None:
        super().__init__(tokens, examples, np.zeros_like(examples[:0]))
        self._known, self._others, self._search = examples.any(axis=0), others, search
        self._last = np.zeros(0)

    def likeness(self, masks: Mask, scores: Floats, stabilities: Floats) -> tuple[Floats, Floats]:
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


def searched(engine: Engine, picture: Picture, cache: Path | None, start: int) -> Search:
    """What a search from one example sees."""
    embedding = embed(engine, picture.targets[0].image, cache)
    truths = np.array(
        [t for t in (low_res(each.truth) for each in picture.targets) if t.sum() >= SPECK]
    )
    order = np.random.default_rng(zlib.crc32(picture.name.encode())).permutation(len(truths))
    order = np.roll(order, -start)
    search = Search(picture.domain, picture.name)
    examples = truths[order[:1]]
    kind = Recording(Tokens(embedding), examples, truths[order[1:]], search)
    found = similar.candidates(engine, embedding, kind, examples, similar.MOST_DECODES)
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
    folds: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for picture in every:
        seen[picture.domain] += 1
        folds[picture.name] = picture.domain if of_domains else str(seen[picture.domain] % 2)
    for fold in sorted(set(folds.values())):
        yield (
            [search for search in searches if folds[search.picture] != fold],
            [picture for picture in every if folds[picture.name] == fold],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Fits the likeness of objects of a kind.")
    parser.add_argument("folder", type=Path, help="pictures with all objects of their labels")
    parser.add_argument("--cache", type=Path, help="keep embeddings in this folder")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--measure", action="store_true", help="measure what was not fitted")
    options = parser.parse_args()
    name, engine = served()
    every = list(pictures(targets_in(options.folder, None), None))
    searches: list[Search] = []
    for number in range(1, options.rounds + 1):
        searches = [searched(engine, picture, options.cache, 0) for picture in every]
        weights, bias = fitted(searches)
        use(weights, bias)
        print(f"round {number}: {weights.round(3).tolist()}, {bias:.3f}", flush=True)
    if options.measure:
        for of_domains in (False, True):
            measured = []
            for others, pictures_out in held_out(searches, every, of_domains):
                use(*fitted(others))
                for picture in pictures_out:
                    found = measure(engine, picture, 0, options.cache)
                    measured.append((picture.domain, found))
                    print(picture.name, found["1 example"], file=sys.stderr, flush=True)
            fitted_to = "the other domains" if of_domains else "the other half of each domain"
            print(report(f"{name}, fitted to {fitted_to}", measured), flush=True)


if __name__ == "__main__":
    main()
