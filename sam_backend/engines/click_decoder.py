"""Runs the rebuilt mask decoder: logits for the part of the square that contains the image."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import cv2
import numpy as np
import numpy.typing as npt
import onnx

from sam_backend import memory
from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats
from sam_backend.engines.graph.click_decoder import (
    GRID,
    IMAGE,
    KEPT,
    LOGITS,
    PLACES,
    SCORES,
    SHAPE,
    USED,
    WEIGHTS,
    click_decoder,
)
from sam_backend.engines.graph.decoder_weights import SIDE, DecoderWeights
from sam_backend.engines.trimmed_encoder import Array, OpenSession, Session

logger = logging.getLogger("sam_backend")

# Logits of the padding, which is certainly not the object.
OUTSIDE = -10.0
BLOCK = 2  # a block of padding tokens with this side is decoded as one token
_TOLERANCE = 1e-2  # of logits, which are around ten

# (features, coordinates, codes, mask or None) -> logits (4, 256, 256), scores (4,)
Decode = Callable[[Floats, Floats, Floats, "Floats | None"], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Layout:
    """The subset of the 64 x 64 image tokens that is decoded, the tokens of the image first.

    Padding tokens are all similar, so one of each block is kept and counts for the block.
    """

    used: tuple[int, int]  # rows and columns that contain the image
    kept: npt.NDArray[np.int64]  # (n,)
    weights: Floats  # (1, n) logarithm of the number of tokens that each one stands for
    places: Floats  # (n, 256)

    @classmethod
    def of(cls, places: Floats, rows: int, columns: int) -> Layout:
        grid = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
        kept, counts = [grid[:rows, :columns].ravel()], [np.ones(rows * columns)]
        for padding in (grid[rows:], grid[:rows, columns:]):
            for top in range(0, padding.shape[0], BLOCK):
                for left in range(0, padding.shape[1], BLOCK):
                    block = padding[top : top + BLOCK, left : left + BLOCK]
                    kept.append(block[block.shape[0] // 2, block.shape[1] // 2].reshape(1))
                    counts.append(np.array([block.size]))
        chosen = np.concatenate(kept)
        weights = np.log(np.concatenate(counts)).astype(np.float32)[None]
        return cls((rows, columns), chosen, weights, places[chosen])

    def tokens(self, features: Floats) -> Floats:
        """The kept tokens (n, 256) of features (1, 256, 64, 64)."""
        rows, columns = self.used
        # OpenCV transposes seven times as fast as NumPy copies a transposed array.
        tokens = cv2.transpose(features[0].reshape(-1, SIDE * SIDE))
        image = tokens.reshape(SIDE, SIDE, -1)[:rows, :columns].reshape(rows * columns, -1)
        return np.concatenate((image, tokens[self.kept[rows * columns :]]))


class ClickDecoder:
    """Two graphs of one decoder: one for an earlier mask, and a faster one without it."""

    def __init__(self, model: onnx.ModelProto, open_session: OpenSession) -> None:
        """ValueError or KeyError if the decoder is not SAM's."""
        self._plain = open_session(click_decoder(model, with_mask=False))
        self._with_mask = _Later(open_session, click_decoder(model, with_mask=True))
        places = DecoderWeights(model.graph).places
        self._layout = lru_cache(maxsize=32)(partial(Layout.of, places))

    def decode(
        self,
        features: Floats,
        used: tuple[int, int],
        coordinates: Floats,
        codes: Floats,
        mask: Floats | None,
    ) -> tuple[Floats, Floats]:
        """Logits (4, 256, 256) and scores (4,).

        features (1, 256, 64, 64), with so many used rows and columns; coordinates (1, N, 2) in
        the model's square with codes (1, N); mask (256, 256) logits or None.
        """
        rows, columns = used
        layout = self._layout(rows, columns)
        inputs: dict[str, Array] = {
            IMAGE: layout.tokens(features),
            KEPT: layout.kept,
            PLACES: layout.places,
            WEIGHTS: layout.weights,
            USED: np.array([rows * columns]),
            GRID: np.array([4, rows, columns, 2, 2, 2, 2]),
            SHAPE: np.array([4, 4 * rows, 4 * columns]),
            "point_coords": coordinates,
            "point_labels": codes,
        }
        session = self._plain
        if mask is None:
            del inputs[KEPT]
        else:
            session = self._with_mask.session()
            inputs["mask_input"] = mask[None, None]
        logits, scores = session.run([LOGITS, SCORES], inputs)
        if logits.shape[1:] != (LOW_RES_SIDE, LOW_RES_SIDE):
            whole = np.full((4, LOW_RES_SIDE, LOW_RES_SIDE), OUTSIDE, np.float32)
            whole[:, : 4 * rows, : 4 * columns] = logits
            logits = whole
        return logits, scores[0]

    def warm_up(self) -> None:
        """Opens the sessions in the background, so that the first click need not wait."""
        ahead = ThreadPoolExecutor(1, thread_name_prefix="first-decodes")
        for mask in (None, np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), np.float32)):
            for points in (2, 3):
                ahead.submit(
                    self.decode,
                    np.zeros((1, 256, SIDE, SIDE), np.float32),
                    (SIDE * 3 // 4, SIDE),
                    np.zeros((1, points, 2), np.float32),
                    np.zeros((1, points), np.float32),
                    mask,
                )
        ahead.submit(memory.give_back)
        ahead.shutdown(wait=False)

    def agrees_with(self, decode: Decode) -> bool:
        """Whether both give the same masks for a synthetic image, with and without a mask input."""
        random = np.random.default_rng(0)
        features = random.normal(0, 0.3, (1, 256, 64, 64)).astype(np.float32)
        coordinates = random.uniform(0, MODEL_SIDE, (1, 3, 2)).astype(np.float32)
        codes = np.array([[1, 0, -1]], np.float32)
        mask = random.normal(0, 5, (LOW_RES_SIDE, LOW_RES_SIDE)).astype(np.float32)
        for earlier in (None, mask):
            ours = self.decode(features, (64, 64), coordinates, codes, earlier)
            theirs = decode(features, coordinates, codes, earlier)
            if not all(
                np.allclose(a, b, rtol=0, atol=_TOLERANCE)
                for a, b in zip(ours, theirs, strict=True)
            ):
                return False
        return True


class _Later:
    """A session that is opened at its first use: by `warm_up`, or by an earlier click.

    Its graph is then released, because it takes as much memory as its weights.
    """

    def __init__(self, open_session: OpenSession, model: onnx.ModelProto) -> None:
        self._known: Session | Callable[[], Session] = partial(open_session, model)
        self._lock = threading.Lock()

    def session(self) -> Session:
        with self._lock:
            if callable(self._known):
                self._known = self._known()
            return self._known


def open_click_decoder(
    model: onnx.ModelProto, open_session: OpenSession, decode: Decode
) -> ClickDecoder | None:
    """The decoder for clicks. None if this graph cannot be rebuilt with the same masks."""
    try:
        decoder = ClickDecoder(model, open_session)
    except (KeyError, ValueError, StopIteration) as error:
        logger.info("the decoder is used as it was exported: %r", error)
        return None
    if not decoder.agrees_with(decode):
        logger.info("the decoder is used as it was exported: the rebuilt one gives other masks")
        return None
    return decoder
