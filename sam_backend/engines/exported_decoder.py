"""A decoder as it was exported, by whatever program, with the inputs and outputs that it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats, Frame
from sam_backend.engines.graph import reader
from sam_backend.engines.protocol import Embedding
from sam_backend.engines.sessions import open_onnx
from sam_backend.engines.trimmed_encoder import OpenSession
from sam_backend.errors import SettingsError

_NOWHERE = -100.0  # logits outside the image, if a decoder gives none
_DTYPES: dict[int, Any] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.INT64: np.int64,
}


class ExportedDecoder:
    """The session of a decoder. It always gives four masks."""

    arrangement = ""

    def __init__(
        self, gives: reader.Decoder, open_session: OpenSession, positions: Mapping[str, Floats]
    ) -> None:
        """`positions` are as `positions_for` returns them."""
        self._gives = gives.without_graph()
        self._positions = positions
        model = reader.with_half_inputs(gives.model, gives.details)
        inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        self._dtypes = {name: _DTYPES.get(kind, np.float32) for name, kind in inputs.items()}
        self._session = open_session(model)

    def prepared(self, embedding: Embedding) -> Embedding:
        """It decodes an embedding as the encoder made it."""
        return embedding

    def decode(
        self,
        embedding: Embedding,
        coordinates: Floats,
        codes: Floats,
        mask: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Logits (4, 256, 256) and scores (4,).

        coordinates (1, N, 2) in the model's square with codes (1, N); mask (256, 256) or None.
        """
        gives, size = self._gives, (embedding.height, embedding.width)
        prompt = (
            _prompt_of_transformers(coordinates, codes)
            if gives.by_transformers
            else _prompt(coordinates, codes, mask, size)
        )
        details = dict(zip(gives.details, embedding.details, strict=True))
        inputs = {**prompt, "image_embeddings": embedding.features, **details, **self._positions}
        wanted = {
            name: inputs[name].astype(dtype, copy=False) for name, dtype in self._dtypes.items()
        }
        masks, scores = self._session.run([gives.masks, gives.scores], wanted)
        if gives.full_size:
            masks = _low_res(masks, *size)
        return _four(
            masks.reshape(-1, LOW_RES_SIDE, LOW_RES_SIDE).astype(np.float32, copy=False),
            scores.ravel().astype(np.float32, copy=False),
        )


def positions_for(
    gives: reader.Decoder, encoder: Path, made: Collection[str], threads: int
) -> dict[str, Floats]:
    """The second output of transformers.js's encoder, if the decoder takes it.

    It is the same for all images. `made` are the names of the encoder's outputs. SettingsError if
    it is not among them.
    """
    name = reader.POSITIONS
    if name not in gives.inputs:
        return {}
    if name not in made:
        raise SettingsError(f"{encoder} has no output {name}, which the decoder needs")
    part = open_onnx(reader.part_for(encoder, name), "cpu", threads)
    blank = np.zeros((1, 3, MODEL_SIDE, MODEL_SIDE), np.float32)
    return {name: part.run(None, {i.name: blank for i in part.get_inputs()})[0]}


def _prompt(
    coordinates: Floats, codes: Floats, mask: Floats | None, size: tuple[int, int]
) -> dict[str, npt.NDArray[np.generic]]:
    earlier = np.zeros((1, 1, LOW_RES_SIDE, LOW_RES_SIDE), np.float32)
    if mask is not None:
        earlier[0, 0] = mask
    return {
        "point_coords": coordinates,
        "point_labels": codes,
        "mask_input": earlier,
        "has_mask_input": np.array([mask is not None], np.float32),
        "orig_im_size": np.array(size, np.float32),
    }


def _prompt_of_transformers(
    coordinates: Floats, codes: Floats
) -> dict[str, npt.NDArray[np.generic]]:
    # It adds the padding point by itself.
    return {"input_points": coordinates[:, None, :-1], "input_labels": codes[:, None, :-1]}


def _four(masks: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Four masks from any decoder. Some have no single mask, and some have only that one."""
    if len(masks) == 1:
        return np.repeat(masks, 4, axis=0), np.repeat(scores, 4)
    if len(masks) == 3:
        order = [int(scores.argmax()), 0, 1, 2]
        return masks[order], scores[order]
    return masks[:4], scores[:4]


def _low_res(masks: Floats, height: int, width: int) -> Floats:
    """Masks (1, n, height, width) as SAM's low-res logits (n, 256, 256)."""
    frame = Frame(height, width)
    found = [frame.shrink(mask.astype(np.float32, copy=False), _NOWHERE) for mask in masks[0]]
    return np.stack(found)
