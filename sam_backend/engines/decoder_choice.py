"""Opens the decoder of an ONNX pair: rebuilt for clicks if possible, or as it was exported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from sam_backend import memory
from sam_backend.engines.arithmetic import ONNX_F32, Arithmetic
from sam_backend.engines.click_decoder import CORES_A_DECODE, ClickDecoder
from sam_backend.engines.exported_decoder import ExportedDecoder, positions_for
from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats
from sam_backend.engines.graph.reader import Decoder
from sam_backend.engines.protocol import KINDS, Embedding
from sam_backend.engines.sessions import open_session

logger = logging.getLogger("sam_backend")

_TOLERANCE = 1e-2  # of logits, which are around ten

# (embedding, coordinates, codes, mask or None) -> logits (4, 256, 256), scores (4,)
Decode = Callable[[Embedding, Floats, Floats, "Floats | None"], tuple[Floats, Floats]]


def open_decoder(
    gives: Decoder,
    arithmetic: Arithmetic,
    encoder: Path,
    made: Collection[str],
    *,
    device: str,
    threads: int,
    is_known: bool,
    as_exported: bool,
) -> ClickDecoder | ExportedDecoder:
    """`made` are the names of the encoder's outputs.

    `is_known` says that the tests prove that the rebuilt decoder gives the same masks. Any other
    decoder is compared with its rebuilt form when it is opened.
    """
    opened = partial(open_session, device=device, threads=threads, cores_a_run=CORES_A_DECODE)
    positions = positions_for(gives, encoder, made, threads)

    def exported(computes_in: Arithmetic) -> ExportedDecoder:
        return ExportedDecoder(gives, partial(opened, arithmetic=computes_in), positions)

    def rebuilt(computes_in: Arithmetic) -> ClickDecoder:
        return ClickDecoder(
            gives.model,
            partial(opened, arithmetic=computes_in),
            gives.kind,
            gives.stability,
            # To a GPU they would be copied for each decode, and in 16 bits they are less exact.
            shares_products=device == "cpu" and arithmetic.precision == "f32",
        )

    click = None
    if not as_exported and _may_be_rebuilt(gives):
        if is_known:
            click = rebuilt(arithmetic)
        elif click := _if_alike(lambda: rebuilt(ONNX_F32), lambda: exported(ONNX_F32).decode):
            click = click if arithmetic == ONNX_F32 else rebuilt(arithmetic)
    if click is None:
        # Decoders of other programs were never tried in other arithmetics.
        is_ours = gives.details or KINDS[gives.kind].slots
        return exported(arithmetic if is_ours else ONNX_F32)
    _warm_up(click)
    return click


def agree(rebuilt: ClickDecoder, decode: Decode) -> bool:
    """Whether both give the same masks for a synthetic image, with and without an earlier mask."""
    random = np.random.default_rng(0)
    embedding = rebuilt.noise(random, (MODEL_SIDE, MODEL_SIDE))
    prepared = rebuilt.prepared(embedding)
    coordinates = random.uniform(0, MODEL_SIDE, (1, 3, 2)).astype(np.float32)
    codes = np.array([[1, 0, -1]], np.float32)
    mask = random.normal(0, 5, (LOW_RES_SIDE, LOW_RES_SIDE)).astype(np.float32)
    for earlier in (None, mask):
        ours = rebuilt.decode(prepared, coordinates, codes, earlier)
        theirs = decode(embedding, coordinates, codes, earlier)
        if not all(
            np.allclose(a, b, rtol=0, atol=_TOLERANCE) for a, b in zip(ours, theirs, strict=True)
        ):
            return False
    return True


def _may_be_rebuilt(gives: Decoder) -> bool:
    if gives.by_transformers or gives.full_size or gives.size or KINDS[gives.kind].slots:
        return False
    # The meaning of the details of another program is unknown.
    return not gives.details or gives.kind != "sam"


def _if_alike(
    rebuild: Callable[[], ClickDecoder], exported: Callable[[], Decode]
) -> ClickDecoder | None:
    try:
        rebuilt = rebuild()
    except (KeyError, ValueError, StopIteration) as error:
        logger.info("the decoder is used as it was exported: %r", error)
        return None
    if not agree(rebuilt, exported()):
        logger.info("the decoder is used as it was exported: the rebuilt one gives other masks")
        return None
    return rebuilt


def _warm_up(decoder: ClickDecoder) -> None:
    """Opens the sessions in the background, so that the first click need not wait."""

    def decode_examples() -> None:
        for with_mask in (False, True):
            for points in (2, 3):
                decoder.example(points, with_mask=with_mask)()
        memory.give_back()

    ahead = ThreadPoolExecutor(1, thread_name_prefix="first-decodes")
    ahead.submit(decode_examples)
    ahead.shutdown(wait=False)
