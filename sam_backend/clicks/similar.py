"""Finds the other objects of a kind in a picture, given one or more examples.

The search looks where the encoder's features are most like an example's features. It decodes a
point there and takes the mask of the four that is most like the examples. A mask that overlaps a
more alike one is dropped.

The features of a small model separate nuclei from their surroundings. They do not separate a cup
from a glass. If the masks that were found are not very likely on average, likeness says little in
this picture, and only very likely masks are offered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.clicks.everything import SPECK, Bits, Proposal, stability_of, without_specks
from sam_backend.clicks.likeness import Looks, Tokens, comparison
from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask

MOST_DECODES = 64
PATIENCE = 16  # points in a row without a new mask to offer, after which the search ends
SPACING = 0.35  # between points, in square roots of an example's area
SAME_OBJECT = 0.5  # of the smaller of two masks lies in the other one
LEAST = 0.3  # how likely a mask must be to be offered
SURE = 0.5  # a mask with this likelihood needs no further points inside
# The mean likelihood of the offered masks. Below it, likeness says little in this picture, and only
# masks are offered that are very likely by themselves.
EXPECTED, VERY_LIKELY = 0.6, 0.8
ALIKE = 0.5  # the least cosine of the insides, because size and shape alone are not enough
# A logistic model of whether a mask is an object of the kind. `tools.similar_fit` prints it.
# `Kind.features` names the features.
WEIGHTS = np.array(
    [0.034, 0.709, -0.64, -1.546, -0.643, -0.906, -2.909, 5.53, -0.624, 3.819, 0.467], np.float32
)
BIAS = np.float32(-6.684)

_PIXEL = MODEL_SIDE // LOW_RES_SIDE  # side of a low-res pixel in the model's square


@dataclass(frozen=True)
class Candidate:
    """A mask that may be offered."""

    likeness: float
    bits: Bits  # low-res mask (256, 256), packed
    logits: npt.NDArray[np.float16]  # (256, 256)


def rest(
    engine: Engine,
    embedding: Embedding,
    examples: Mask,
    counter_examples: Mask | None = None,
    taken: Mask | None = None,
    most: int = MOST_DECODES,
) -> Iterator[Proposal]:
    """The masks of objects that are like the examples, best first. The likeness is the score.

    `examples`, `counter_examples` and `taken` are low-res masks (N, 256, 256). A mask is left
    out if it overlaps one of them, or if it is more like a counter-example. `most` limits the
    decodes. All decodes are done at once. A mask of the image's size is made when it is asked for,
    because all masks of a large image fill the memory.
    """
    examples, counter = _without_empty(examples), _without_empty(counter_examples)
    if not len(examples):
        return iter(())
    left_out = np.concatenate([examples, counter, _without_empty(taken)])
    kind = Kind(Tokens(embedding), examples, counter)
    found = sorted(
        candidates(engine, embedding, kind, left_out, most), key=lambda each: -each.likeness
    )
    return _full_size(embedding, _offered(found))


def _full_size(embedding: Embedding, found: Sequence[Candidate]) -> Iterator[Proposal]:
    """The masks (H, W) of candidates."""
    for candidate in found:
        mask = embedding.frame.mask(without_specks(candidate.logits.astype(np.float32)))
        if mask.any():
            yield Proposal(mask, candidate.likeness)


def _offered(found: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, best first, of which no two show the same object."""
    kept: list[Candidate] = []
    for candidate in found:
        if not _overlaps(candidate.bits, [other.bits for other in kept]):
            kept.append(candidate)
    if kept and np.mean([each.likeness for each in kept]) < EXPECTED:
        return [each for each in kept if each.likeness >= VERY_LIKELY]
    return kept


class Kind:
    """The looks of the examples, and the likeness of other masks to them."""

    def __init__(self, tokens: Tokens, examples: Mask, counter_examples: Mask) -> None:
        self._tokens = tokens
        self._examples = tokens.looks(examples)
        self._counter = tokens.looks(counter_examples) if len(counter_examples) else None
        areas = examples.sum(axis=(1, 2))
        self.spacing = max(_PIXEL / 2, SPACING * float(np.sqrt(np.median(areas))))  # low-res pixels
        alike = tokens.map_of(self._examples)
        self._standing_out = float(self._examples.stands_out.mean())
        self._usual, self._spread = float(alike.mean()), max(1e-3, float(alike.std()))
        step = LOW_RES_SIDE // tokens.side
        # Finer than the tokens, because an object may be smaller than a token.
        wide = cv2.resize(alike, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        self.map: Floats = np.asarray(wide, np.float32)

    def likeness(self, masks: Mask, scores: Floats, stabilities: Floats) -> Floats:
        """How likely masks (N, 256, 256) are objects of the kind (N,), 0 to 1."""
        looks = self._tokens.looks(masks)
        likely = likelihood(self.features(looks, self._examples, scores, stabilities))
        if self._counter is not None:
            others = likelihood(self.features(looks, self._counter, scores, stabilities))
            likely[others >= likely] = 0
        return likely

    def features(
        self, looks: Looks, examples: Looks, scores: Floats, stabilities: Floats
    ) -> Floats:
        """Features (N, M, 11) of N masks beside M examples.

        The features are: `comparison`, the engine's score, the stability, how much the kind stands
        out, and how unusual the cosine of the insides is in this picture.
        """
        compared = comparison(looks, examples)
        unusual = (compared[..., 0] - self._usual) / self._spread
        own = np.stack([scores, stabilities, np.full_like(scores, self._standing_out)], 1)
        same = np.broadcast_to(own[:, None], (*unusual.shape, own.shape[1]))
        return np.concatenate([compared, same, unusual[..., None]], axis=2).astype(np.float32)


def likelihood(features: Floats) -> Floats:
    """The likelihood (N,) of N masks to be the same kind of object as one of M examples, 0 to 1.

    `features` (N, M, 11) come from `Kind.features`.
    """
    logits = np.where(features[..., 0] < ALIKE, -np.inf, features @ WEIGHTS).max(axis=1) + BIAS
    found: Floats = 1 / (1 + np.exp(-logits))
    return found


def candidates(
    engine: Engine, embedding: Embedding, kind: Kind, left_out: Mask, most: int
) -> Iterator[Candidate]:
    """The most alike mask at each promising point."""
    frame = embedding.frame
    rows, columns = np.minimum(frame.used, kind.map.shape)
    covered: Mask = np.asarray(left_out.any(axis=0))
    unseen = np.where(covered[:rows, :columns], 0, kind.map[:rows, :columns])
    down, across = np.ogrid[:rows, :columns]
    known = [np.packbits(mask) for mask in left_out]
    in_vain = 0
    for _ in range(most):
        row, column = divmod(int(unseen.argmax()), int(columns))
        if unseen[row, column] <= 0 or in_vain == PATIENCE:
            return
        in_vain += 1
        unseen[np.hypot(down - row, across - column) <= kind.spacing] = 0
        decoded, scores = engine.decode(embedding, _point(embedding, row, column), np.ones(1, "f4"))
        best = _most_alike(embedding, kind, decoded, scores)
        if best is None or _overlaps(best.bits, known):
            continue
        in_vain = 0
        if best.likeness >= SURE:
            known.append(best.bits)
            unseen[best.logits[:rows, :columns] > 0] = 0
        yield best


def _most_alike(
    embedding: Embedding, kind: Kind, decoded: Floats, scores: Floats
) -> Candidate | None:
    """The mask of a point's four that is most like the examples, if it is worth offering."""
    logits = np.full_like(decoded, -10)
    embedding.frame.cut(logits)[:] = embedding.frame.cut(decoded)
    masks = logits > 0
    kept = np.flatnonzero(masks.sum(axis=(1, 2)) >= SPECK)
    if not len(kept):
        return None
    stabilities = np.array([stability_of(each)[0] for each in logits[kept]], np.float32)
    likely = kind.likeness(masks[kept], scores[kept], stabilities)
    if likely.max() < LEAST:
        return None
    best = kept[likely.argmax()]
    bits = np.packbits(masks[best])
    return Candidate(float(likely.max()), bits, logits[best].astype(np.float16))


def _point(embedding: Embedding, row: int, column: int) -> Floats:
    """The middle of a low-res pixel (1, 2) x, y, in pixels of the image."""
    height, width = embedding.frame.scaled
    x = (column + 0.5) * _PIXEL * embedding.width / width
    y = (row + 0.5) * _PIXEL * embedding.height / height
    return np.array([[min(x, embedding.width - 1), min(y, embedding.height - 1)]], np.float32)


def _overlaps(one: Bits, others: Sequence[Bits]) -> bool:
    """Whether a packed mask shows the same object as one of some others, or a part of it."""
    if not others:
        return False
    # All at once and in words, because there are hundreds of pairs for each decode.
    own, words = one.view(np.uint64), np.stack(others).view(np.uint64)
    shared = np.bitwise_count(own & words).sum(axis=1)
    smaller = np.minimum(np.bitwise_count(own).sum(), np.bitwise_count(words).sum(axis=1))
    return bool((shared > SAME_OBJECT * smaller).any())


def _without_empty(masks: Mask | None) -> Mask:
    if masks is None:
        return np.zeros((0, LOW_RES_SIDE, LOW_RES_SIDE), bool)
    kept: Mask = masks[masks.any(axis=(1, 2))]
    return kept
