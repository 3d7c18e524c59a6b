"""Finds the other objects of a kind in a picture, given one or more examples.

The search looks where the encoder's features are most like an example's features. It decodes a
point there and takes the mask of the four that is most like the examples. A mask that overlaps a
more alike one is dropped. After half of the decodes, the surest objects become examples, too.

The features of a small model separate nuclei from their surroundings. They do not separate a cup
from a glass. If the examples and the masks that were found hardly stand out from their
surroundings, or if each of them stands out in another way, likeness says nothing in this picture,
and no mask is offered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.clicks.everything import SPECK, Bits, Proposal, stability_of, without_specks
from sam_backend.clicks.likeness import Looks, Tokens, comparison, together
from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask

MOST_DECODES = 64
PATIENCE = 16  # points in a row without a new mask to offer, after which the search ends
SPACING = 0.5  # between points, in square roots of an example's area
SAME_OBJECT = 0.5  # of the smaller of two masks lies in the other one
LEAST = 0.45  # how likely a mask must be to be offered
SURE = 0.5  # a mask with this likelihood needs no further points inside
# How much the examples and the masks to offer stand out, plus how likely the masks are, on average.
# Below it, likeness says nothing in this picture. Nearly all photos of everyday objects lie below.
TELLING = 1.3
# How alike the contrasts of the examples and of the masks to offer are, on average: the mean cosine
# of all pairs. Below it, whatever stands out was found, such as all things in a sink.
SAME_CONTRAST = 0.55
MOST_SURE, VERY_SURE = 6, 0.75  # found objects that are examples for the second half of a search
ALIKE = 0.4  # the least cosine of the insides, because size and shape alone are not enough
LARGER = 0.35  # the cosine that a difference of 1 in the log of the area outweighs
# A logistic model of whether a mask is an object of the kind, in pictures where likeness tells
# something. `tools.quality.similar_fit` prints it. `Kind.features` names the features.
WEIGHTS = np.array([1.98, -0.93, -3.2, 4.19, 0.44], np.float32)
BIAS = np.float32(-3.95)

_PIXEL = MODEL_SIDE // LOW_RES_SIDE  # side of a low-res pixel in the model's square


@dataclass(frozen=True)
class Candidate:
    """A mask that may be offered."""

    likeness: float
    looks: Looks  # of this one
    bits: Bits  # low-res mask (256, 256), packed
    logits: npt.NDArray[np.float16]  # (256, 256)

    @property
    def mask(self) -> Mask:
        """The mask (256, 256)."""
        found: Mask = self.logits > 0
        return found


def rest(
    engine: Engine,
    embedding: Embedding,
    examples: Mask,
    counter_examples: Mask | None = None,
    taken: Mask | None = None,
    most: int = MOST_DECODES,
    elsewhere: Looks | None = None,
) -> Iterator[Proposal]:
    """The masks of objects that are like the examples, best first. The likeness is the score.

    `examples`, `counter_examples` and `taken` are low-res masks (N, 256, 256). A mask is left
    out if it overlaps one of them, or if it is more like a counter-example. `most` limits the
    decodes. `elsewhere` are the looks of examples in other pictures. All decodes are done at once.
    A mask of the image's size is made when it is asked for, because all masks of a large image fill
    the memory.
    """
    examples, counter = _without_empty(examples), _without_empty(counter_examples)
    tokens = Tokens(embedding)
    looks = [] if elsewhere is None else [elsewhere]
    if len(examples):
        looks.append(tokens.looks(examples))
    if not looks:
        return iter(())
    left_out = np.concatenate([examples, counter, _without_empty(taken)])
    kind = Kind(tokens, together(looks), tokens.looks(counter) if len(counter) else None)
    half = most - most // 2
    found = offered(candidates(engine, embedding, kind, left_out, half), kind)
    if found:
        # The surest objects show further looks of the kind.
        sure = [each.mask for each in found[:MOST_SURE] if each.likeness >= VERY_SURE]
        if sure:
            kind = kind.with_examples(np.stack(sure))
        left_out = np.stack([*left_out, *(each.mask for each in found)])
        more = candidates(engine, embedding, kind, left_out, most - half)
        found = offered([*found, *more], kind)
    return _full_size(embedding, found)


def _full_size(embedding: Embedding, found: Sequence[Candidate]) -> Iterator[Proposal]:
    """The masks (H, W) of candidates."""
    for candidate in found:
        mask = embedding.frame.mask(without_specks(candidate.logits.astype(np.float32)))
        if mask.any():
            yield Proposal(mask, candidate.likeness)


def offered(found: Iterable[Candidate], kind: Kind) -> list[Candidate]:
    """The candidates, best first, of which no two show the same object.

    None, if likeness tells nothing in this picture.
    """
    kept: list[Candidate] = []
    for candidate in sorted(found, key=lambda each: -each.likeness):
        if not _overlaps(candidate.bits, [other.bits for other in kept]):
            kept.append(candidate)
    return kept if kept and kind.tells(kept) else []


class Kind:
    """The looks of the examples, and the likeness of other masks to them."""

    def __init__(self, tokens: Tokens, examples: Looks, counter_examples: Looks | None) -> None:
        self._tokens = tokens
        self._examples, self._counter = examples, counter_examples
        areas = np.exp(examples.shape[:, 0])
        self.spacing = max(_PIXEL / 2, SPACING * float(np.sqrt(np.median(areas))))  # low-res pixels
        alike = tokens.map_of(self._examples)
        step = LOW_RES_SIDE // tokens.side
        # Finer than the tokens, because an object may be smaller than a token.
        wide = cv2.resize(alike, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        self.map: Floats = np.asarray(wide, np.float32)

    def with_examples(self, masks: Mask) -> Kind:
        """The same kind with more examples, low-res masks (N, 256, 256) of this picture."""
        looks = together([self._examples, self._tokens.looks(masks)])
        return Kind(self._tokens, looks, self._counter)

    def tells(self, found: Sequence[Candidate]) -> bool:
        """Whether likeness to the examples says something about these masks."""
        every = together([self._examples, *(each.looks for each in found)])
        likely = np.mean([each.likeness for each in found])
        telling = bool(every.stands_out.mean() + likely >= TELLING)
        return telling and _agreement(every.contrast) >= SAME_CONTRAST

    def likeness(self, masks: Mask, scores: Floats, stabilities: Floats) -> tuple[Floats, Looks]:
        """How likely masks (N, 256, 256) are objects of the kind (N,), 0 to 1. And their looks."""
        looks = self._tokens.looks(masks)
        likely = likelihood(self.features(looks, scores, stabilities))
        if self._counter is not None:
            likely[_kinship(looks, self._counter) >= _kinship(looks, self._examples)] = 0
        return likely, looks

    def features(self, looks: Looks, scores: Floats, stabilities: Floats) -> Floats:
        """Features (N, M, 5) of N masks beside M examples.

        The features are: `comparison`, the engine's score, and the stability.
        """
        compared = comparison(looks, self._examples)
        own = np.stack([scores, stabilities], 1)
        same = np.broadcast_to(own[:, None], (*compared.shape[:2], own.shape[1]))
        return np.concatenate([compared, same], axis=2).astype(np.float32)


def likelihood(features: Floats) -> Floats:
    """The likelihood (N,) of N masks to be the same kind of object as one of M examples, 0 to 1.

    `features` (N, M, 5) come from `Kind.features`.
    """
    logits = np.where(features[..., 0] < ALIKE, -np.inf, features @ WEIGHTS).max(axis=1) + BIAS
    found: Floats = 1 / (1 + np.exp(-logits))
    return found


def _agreement(vectors: Floats) -> float:
    """The mean cosine of all pairs of N vectors (N, C) of unit length. N is at least 2."""
    count = len(vectors)
    return float((np.square(vectors.sum(axis=0)).sum() - count) / (count * (count - 1)))


def _kinship(looks: Looks, examples: Looks) -> Floats:
    """How much N masks are like the most similar of M examples (N,), to compare two kinds."""
    compared = comparison(looks, examples)
    found: Floats = (compared[..., 0] - LARGER * compared[..., 1]).max(axis=1)
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
    likely, looks = kind.likeness(masks[kept], scores[kept], stabilities)
    first = int(likely.argmax())
    if likely[first] < LEAST:
        return None
    best = kept[first]
    bits, small = np.packbits(masks[best]), logits[best].astype(np.float16)
    return Candidate(float(likely[first]), looks.some(slice(first, first + 1)), bits, small)


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
