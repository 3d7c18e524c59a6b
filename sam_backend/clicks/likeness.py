"""Compares masks: their insides, their surroundings, their sizes and shapes.

The inside of a mask is the mean of the encoder's features in it. The picture's mean is subtracted
from the features of each token, because it is the same for all masks. Then they get unit length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Embedding
from sam_backend.formats.mask import Mask

RING = 0.3  # width of the surroundings, in square roots of the mask's area


@dataclass(frozen=True)
class Looks:
    """The looks of some masks, a row for each mask."""

    inside: Floats  # (N, C) mean features, unit length
    ring: Floats  # (N, C) mean features of the surroundings, unit length
    stands_out: Floats  # (N,) the difference between inside and surroundings, about 0 to 1
    shape: Floats  # (N, 2) log of the area in low-res pixels, and solidity

    def __len__(self) -> int:
        return len(self.inside)

    @property
    def contrast(self) -> Floats:
        """The way in which each mask differs from its surroundings (N, C), unit length."""
        return _unit(self.inside - self.ring)

    def some(self, rows: slice) -> Looks:
        """The looks of some of the masks."""
        return Looks(self.inside[rows], self.ring[rows], self.stands_out[rows], self.shape[rows])


class Tokens:
    """The features of one picture, ready to be compared."""

    def __init__(self, embedding: Embedding) -> None:
        features = embedding.features[0]
        self.side = features.shape[-1]
        rows, columns = embedding.frame.tokens
        used = features[:, :rows, :columns]
        centred = features - used.mean(axis=(1, 2), keepdims=True)
        self.features: Floats = _unit(centred.transpose(1, 2, 0))  # (side, side, C)
        self.rows, self.columns = rows, columns

    def looks(self, masks: Mask) -> Looks:
        """The looks of low-res masks (N, 256, 256), none of which is empty."""
        covered = np.stack([_shares(mask, self.side) for mask in masks])
        around = np.stack([_ring(cover) for cover in covered])
        around[:, self.rows :], around[:, :, self.columns :] = 0, 0
        means = _sums(covered, self.features) / covered.sum(axis=(1, 2))[:, None]
        inside, ring = _unit(means), _unit(_sums(around, self.features))
        # The mean over the inside of what `map_of` would show of the mask.
        stands_out = np.linalg.norm(means, axis=1) * (1 - 0.5 * (inside * ring).sum(axis=1))
        return Looks(
            inside=inside,
            ring=ring,
            stands_out=stands_out.astype(np.float32),
            shape=np.array([_shape(mask) for mask in masks], np.float32),
        )

    def map_of(self, looks: Looks) -> Floats:
        """The likeness of each token (rows, columns) to the most similar of some masks."""
        used = self.features[: self.rows, : self.columns]
        # A sum of differences is half as much work as a difference of sums.
        wanted = looks.inside - 0.5 * looks.ring
        alike = np.einsum("yxc,nc->yxn", used, wanted)
        found: Floats = alike.max(axis=-1)
        return found


def together(every: Sequence[Looks]) -> Looks:
    """The looks of masks of one picture or of several ones."""
    return Looks(
        inside=np.concatenate([looks.inside for looks in every]),
        ring=np.concatenate([looks.ring for looks in every]),
        stands_out=np.concatenate([looks.stands_out for looks in every]),
        shape=np.concatenate([looks.shape for looks in every]),
    )


def comparison(looks: Looks, examples: Looks) -> Floats:
    """Features (N, M, 3) of N masks beside M examples.

    The cosines of the insides, and the differences of the log of the area and of the solidity.
    """
    inside = looks.inside @ examples.inside.T
    shape = np.abs(looks.shape[:, None] - examples.shape[None])
    together: Floats = np.dstack([inside, shape])
    return together


def _shares(mask: Mask, side: int) -> Floats:
    """The share of each token (side, side) under a low-res mask."""
    # Means of whole numbers of pixels. OpenCV takes a tenth of NumPy's time for them.
    found = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(found, np.float32)


def _ring(covered: Floats) -> Floats:
    """Weights of the tokens around a mask, given its share of each token."""
    reach = max(1, round(RING * float(np.sqrt(covered.sum()))))
    near = cv2.blur(covered, (2 * reach + 1,) * 2, borderType=cv2.BORDER_CONSTANT)
    around: Floats = (near > 0) * (1 - covered)
    return around


def _shape(mask: Mask) -> tuple[float, float]:
    bits = mask.astype(np.uint8)
    area = max(1, int(np.count_nonzero(bits)))
    outlines, _ = cv2.findContours(bits, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    # A contour runs through the middles of pixels.
    hull = cv2.convexHull(np.concatenate(outlines))
    full = cv2.contourArea(hull) + cv2.arcLength(hull, closed=True) / 2 + 1
    return float(np.log(area)), float(min(1.0, area / full))


def _sums(weights: Floats, features: Floats) -> Floats:
    """The sums (N, C) of features (side, side, C) with weights (N, side, side).

    NumPy shares large matrix products among threads, which wait for each other by spinning. On a
    busy machine this takes fifty times as long. `einsum` computes in the thread that calls it.
    """
    # Most objects cover few tokens.
    rows, columns = weights.any(axis=0).nonzero()
    found: Floats = np.einsum("nt,tc->nc", weights[:, rows, columns], features[rows, columns])
    return found


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: Floats = (vectors / np.maximum(lengths, 1e-6)).astype(np.float32)
    return found
