"""Runs the rebuilt mask decoder: logits for the part of the square that contains the image."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import cv2
import numpy as np
import numpy.typing as npt
import onnx

from sam_backend.engines import click_details
from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats, Frame
from sam_backend.engines.graph.click_builder import (
    GRID,
    HALF_IMAGE,
    IMAGE,
    KEPT,
    KEYS,
    LOGITS,
    POSITION_CODES,
    QUERIES,
    SCORES,
    SHAPE,
    USED,
    VALUES,
    WEIGHTS,
)
from sam_backend.engines.graph.click_decoder import click_decoder
from sam_backend.engines.graph.decoder_weights import SIDE, DecoderWeights
from sam_backend.engines.graph.first_layer import first_products
from sam_backend.engines.protocol import KINDS, Embedding, halved
from sam_backend.engines.trimmed_encoder import Array, OpenSession, Session

# Logits of the padding, which is certainly not the object.
OUTSIDE = -10.0
BLOCK = 2  # a block of padding tokens with this side is decoded as one token
CORES_A_DECODE = 4  # small operations gain little from more
_PRODUCTS = KEYS, QUERIES, VALUES


@dataclass(frozen=True)
class Layout:
    """The subset of the 64 x 64 image tokens that is decoded, the tokens of the image first.

    Padding tokens are all similar, so one of each block is kept and counts for the block.
    """

    used: tuple[int, int]  # rows and columns that contain the image
    kept: npt.NDArray[np.int64]  # (n,)
    weights: Floats  # (1, n) logarithm of the number of tokens that each one stands for
    position_codes: Floats  # (n, 256)

    @classmethod
    def of(cls, position_codes: Floats, rows: int, columns: int) -> Layout:
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
        return cls((rows, columns), chosen, weights, position_codes[chosen])

    def tokens(self, features: Floats) -> Floats:
        """The kept tokens (n, 256) of features (1, 256, 64, 64)."""
        rows, columns = self.used
        grid = features[0].transpose(1, 2, 0)
        if grid.flags.c_contiguous:  # as embeddings are in memory
            tokens = grid.reshape(SIDE * SIDE, -1)
        else:
            # OpenCV transposes seven times as fast as NumPy copies a transposed array.
            tokens = cv2.transpose(features[0].reshape(-1, SIDE * SIDE))
        image = tokens.reshape(SIDE, SIDE, -1)[:rows, :columns].reshape(rows * columns, -1)
        return np.concatenate((image, tokens[self.kept[rows * columns :]]))


class ClickDecoder:
    """Two graphs of one decoder: one for an earlier mask, and a faster one without it.

    `shares_products`: a third graph computes what both need of a picture in their first layer, once
    for the picture. This saves about a sixth of a decode, takes 4 to 6 MB for a picture, and makes
    an encode a little longer.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        open_session: OpenSession,
        kind: str = "sam",
        stability: tuple[float, float] | None = None,
        *,
        shares_products: bool = False,
    ) -> None:
        """`kind` is a key of protocol.KINDS. `stability` is for SAM 2, see reader.STABILITY.

        ValueError or KeyError if the decoder is not of this kind.
        """
        if kind == "sam2" and stability is None:
            raise ValueError("it does not say when its single mask is stable")
        self._kind, self._stability = kind, stability
        build = partial(click_decoder, model, kind=kind, with_products=shares_products)
        self._plain = open_session(build(with_mask=False))
        self._first_layer = open_session(first_products(model)) if shares_products else None
        self._with_mask = _Later(open_session, build(with_mask=True))
        position_codes = DecoderWeights(model.graph).position_codes
        self._layout = lru_cache(maxsize=8)(partial(Layout.of, position_codes))

    @property
    def arrangement(self) -> str:
        """Names the order of an embedding's details, if it is not the encoder's."""
        return "-arranged" if self._kind == "sam2" else ""

    def prepared(self, embedding: Embedding) -> Embedding:
        """An encoder's output as `decode` takes it."""
        details = click_details.arranged(self._kind, embedding.details)
        embedding = replace(embedding, details=details)
        self._products(embedding)  # so that the first click need not wait for them
        return embedding

    def decode(
        self, embedding: Embedding, coordinates: Floats, codes: Floats, mask: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Logits (4, 256, 256) and scores (4,).

        coordinates (1, N, 2) in the model's square with codes (1, N); mask (256, 256) logits or
        None. The embedding is one that `prepared` returned, perhaps from disk.
        """
        rows, columns = self._used(embedding)
        layout = self._layout(rows, columns)
        inputs: dict[str, Array] = {
            IMAGE: layout.tokens(embedding.features),
            KEPT: layout.kept,
            POSITION_CODES: layout.position_codes,
            WEIGHTS: layout.weights,
            USED: np.array([rows * columns]),
            GRID: np.array([4, rows, columns, 2, 2, 2, 2]),
            SHAPE: np.array([4, 4 * rows, 4 * columns]),
            "point_coords": coordinates,
            "point_labels": codes,
        }
        inputs |= self._products(embedding)
        inputs |= click_details.inputs(self._kind, embedding.details, (rows, columns))
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
        if self._stability is not None:
            click_details.stabilise(logits, scores[0], *self._stability)
        return logits, scores[0]

    def example(self, points: int, *, with_mask: bool = False) -> Callable[[], object]:
        """A decode of so many points, on noise: it takes as long as any other."""
        random = np.random.default_rng(0)
        embedding = self.prepared(self.noise(random, (MODEL_SIDE * 3 // 4, MODEL_SIDE)))
        return partial(
            self.decode,
            embedding,
            random.uniform(0, MODEL_SIDE, (1, points, 2)).astype(np.float32),
            np.array([[1] * (points - 1) + [-1]], np.float32),
            np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), np.float32) if with_mask else None,
        )

    def noise(self, random: np.random.Generator, size: tuple[int, int]) -> Embedding:
        """An encoder's output for some image of this height and width."""
        features = random.normal(0, 0.3, (1, 256, SIDE, SIDE)).astype(np.float16)
        details = click_details.noise(self._kind, random)
        return Embedding(features.astype(np.float32), *size, details)

    def _products(self, embedding: Embedding) -> dict[str, Floats]:
        """What all decodes of an embedding share: computed once, and kept by the embedding."""
        if self._first_layer is None:
            return {}
        kept = dict(embedding.derived)
        if len(kept) < len(_PRODUCTS):  # none, or another thread just adds them
            layout = self._layout(*self._used(embedding))
            inputs: dict[str, Array] = {
                # As features come back from disk, so that a restart changes no mask.
                HALF_IMAGE: halved(layout.tokens(embedding.features)),
                POSITION_CODES: layout.position_codes,
            }
            kept = dict(zip(_PRODUCTS, self._first_layer.run(_PRODUCTS, inputs), strict=True))
            embedding.derived.update(kept)
        return kept

    def _used(self, embedding: Embedding) -> tuple[int, int]:
        """Rows and columns of tokens to decode."""
        frame = Frame(embedding.height, embedding.width, KINDS[self._kind].stretches)
        return click_details.used_tokens(self._kind, frame.tokens)


class _Later:
    """A session that is opened at its first use: in the background at the start, or by a click.

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
