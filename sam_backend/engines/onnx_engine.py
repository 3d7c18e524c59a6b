"""SAM on ONNX Runtime: an encoder, and a decoder that is cut so that it returns all four masks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from sam_backend.engines.arithmetic import ONNX_F32, Arithmetic
from sam_backend.engines.click_decoder import ClickDecoder, open_click_decoder
from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats, Frame, Halves
from sam_backend.engines.graph import reader
from sam_backend.engines.protocol import (
    KINDS,
    PIXEL_MEAN,
    Embedding,
    four_of_three,
    halved,
    model_input,
    prompt_points,
    slotted_points,
    to_model_frame,
)
from sam_backend.engines.sessions import open_onnx, open_session
from sam_backend.engines.trimmed_encoder import Session, TrimmedEncoder, open_trimmed
from sam_backend.engines.weights import published, sha256
from sam_backend.errors import Refusal, SettingsError
from sam_backend.formats.pictures import Pixels

_NOWHERE = -100.0  # logits outside the image, if a decoder gives none
_OTHER_MODEL = "choose another model (SAM_CHOICE), or make one with onnx_converter.py"
_DTYPES: dict[int, Any] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.INT64: np.int64,
}

# The version of the way in which images are encoded. Increase it when embeddings change.
_ENCODING = 2
CORES_A_DECODE = 4
# Larger encoders are slow to read, and none of them can be trimmed.
_SMALL_BYTES = 256 << 20


def is_small(encoder: Path) -> bool:
    """Whether an encoder, with its weights in files beside it, may be read to rebuild it."""
    files = encoder.parent.glob(f"{encoder.name}*")
    return sum(file.stat().st_size for file in files) <= _SMALL_BYTES


class OnnxSam:
    """Encoder and decoder sessions. Threads may share them, and they keep no image."""

    def __init__(
        self,
        encoder: Path,
        decoder: Path,
        name: str,
        device: str = "auto",
        *,
        threads: int = 0,  # for one encode or decode. 0: the number of cores
        encode_in: Arithmetic = ONNX_F32,
        decode_in: Arithmetic = ONNX_F32,
    ) -> None:
        self.name = name
        self._takes = reader.read_encoder(encoder)
        self._gives = reader.read_decoder(decoder)
        self._decoder_file = decoder
        if self._gives.kind not in KINDS:
            raise SettingsError(f"{decoder} was converted by a newer version: convert it again")
        self._kind = KINDS[self._gives.kind]
        self.facts = self._kind.facts
        on_gpu = device != "cpu" and "CUDAExecutionProvider" in ort.get_available_providers()
        if device.startswith(("cuda", "mps")) and not on_gpu:
            raise SettingsError(
                f"DEVICE={device!r}: ONNX Runtime finds no such device "
                "(NVIDIA: pip install -r requirements-gpu.txt)"
            )
        self._device = device if on_gpu else "cpu"
        self._threads = threads
        self._encode_in = encode_in
        self._decode_in = decode_in
        self._trimmed = self._open_trimmed(encoder)
        self._encoder = self._trimmed.session if self._trimmed else self._open_encoder(encoder)
        # Names weights, preprocessing and arithmetic. It is part of the key of embeddings on disk.
        arithmetic = f"onnx-{_ENCODING}{self._precision()}"
        self._constants = self._positions(encoder)
        self._refuse_other_details(encoder)
        self._click = self._open_click(is_known=published(decoder) is not None)
        if self._click is None:
            _ = self._decoder  # so that an error in it appears now
        elif self._kind.stretches:
            arithmetic += "-arranged"
        self.fingerprint = f"{arithmetic}:{sha256(encoder)}"
        # The graph takes as much memory as its weights, and the sessions are open.
        self._gives = replace(self._gives, model=onnx.ModelProto())
        # One encode uses the whole GPU, and a second one might not fit into its memory.
        self._one_at_a_time = threading.Lock() if on_gpu else nullcontext()

    @cached_property
    def _decoder(self) -> tuple[Session, dict[str, Any]]:
        """The decoder as it was exported, if it is not replaced by the rebuilt one."""
        # Others are decoders of other programs.
        is_ours = self._gives.details or self._kind.slots
        return self._open_exported(self._decode_in if is_ours else ONNX_F32)

    def _open_exported(self, arithmetic: Arithmetic) -> tuple[Session, dict[str, Any]]:
        """The decoder as it was exported, and the type of each of its inputs."""
        model = reader.read_decoder(self._decoder_file).model  # it was let go
        model = reader.with_half_inputs(model, self._gives.details)
        inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        dtypes = {name: _DTYPES.get(kind, np.float32) for name, kind in inputs.items()}
        session = open_session(model, arithmetic, self._device, self._threads, CORES_A_DECODE)
        return session, dtypes

    def encode(self, image: Pixels) -> Embedding:
        height, width = image.shape[:2]
        with self._one_at_a_time:
            if self._trimmed is not None:
                features, *details = self._trimmed.encode(image)
            else:
                inputs = {self._takes.image_input: self._pixels(image)}
                wanted = [_image_output(self._encoder), *self._gives.details]
                features, *details = self._encoder.run(wanted, inputs)
        features = features.astype(np.float32, copy=False)
        halves = tuple(map(halved, details))
        if self._click is not None:
            halves = self._click.arranged(halves)
        return Embedding(features, height, width, halves)

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        size = embedding.height, embedding.width
        self._refuse_size(*size)
        frame = embedding.frame
        if self._kind.slots:
            return self._decoded_in_slots(embedding, points, labels, box)
        if self._kind.stretches:
            square, pads = Frame(*size, stretched=True), self._kind.pads_boxes
            coordinates, codes = prompt_points(square, points, labels, box, pads_boxes=pads)
            mask = None if mask_input is None else frame.to_stretched(mask_input)
            if self._click is not None:
                logits, scores = self._click.decode(
                    embedding.features, square.tokens, coordinates, codes, mask, embedding.details
                )
            else:
                logits, scores = self._exported(embedding, _prompt(coordinates, codes, mask), size)
            return frame.from_stretched(logits), scores
        coordinates, codes = prompt_points(frame, points, labels, box)
        if self._click is not None:
            used = embedding.frame.tokens
            return self._click.decode(
                embedding.features, used, coordinates, codes, mask_input, embedding.details
            )
        if self._gives.by_transformers:
            inputs = self._prompt_of_transformers(coordinates, codes, box)
        else:
            inputs = _prompt(coordinates, codes, mask_input)
            inputs["orig_im_size"] = np.array(size, np.float32)
        return self._exported(embedding, inputs, size)

    def _decoded_in_slots(
        self, embedding: Embedding, points: Floats, labels: Floats, box: Floats | None
    ) -> tuple[Floats, Floats]:
        """With a decoder that takes so many points, and neither negative ones nor a mask."""
        size = embedding.height, embedding.width
        square = Frame(*size, stretched=True)
        coordinates, codes = slotted_points(square, points, labels, box, self._kind.slots)
        prompt = {"point_coords": coordinates, "point_labels": codes}
        logits, scores = self._exported(embedding, prompt, size)
        logits, scores = four_of_three(logits[1:], scores[1:])
        return embedding.frame.from_stretched(logits), scores

    def _exported(
        self,
        embedding: Embedding,
        prompt: Mapping[str, npt.NDArray[np.generic]],
        size: tuple[int, int],
        opened: tuple[Session, dict[str, Any]] | None = None,
    ) -> tuple[Floats, Floats]:
        """Decodes with the decoder as it was exported, perhaps in a session of its own."""
        details = dict(zip(self._gives.details, embedding.details, strict=True))
        inputs = {**prompt, "image_embeddings": embedding.features, **details, **self._constants}
        session, dtypes = opened or self._decoder
        wanted = {name: inputs[name].astype(dtype, copy=False) for name, dtype in dtypes.items()}
        masks, scores = session.run([self._gives.masks, self._gives.scores], wanted)
        if self._gives.full_size:
            masks = _low_res(masks, *size)
        return _four(
            masks.reshape(-1, LOW_RES_SIDE, LOW_RES_SIDE).astype(np.float32, copy=False),
            scores.ravel().astype(np.float32, copy=False),
        )

    def _open_trimmed(self, encoder: Path) -> TrimmedEncoder | None:
        """An encoder that leaves the padding out, where the graph is a known one."""
        if self._takes.raw or self._kind.stretches or not is_small(encoder):
            return None
        return open_trimmed(onnx.load(encoder), self._open_encoder)

    def _open_encoder(self, model: Path | onnx.ModelProto) -> Session:
        return open_session(model, self._encode_in, self._device, self._threads)

    def _precision(self) -> str:
        precision: str | None = getattr(self._encoder, "precision", None)
        return f"-openvino-{precision}" if precision else ""

    def _open_click(self, *, is_known: bool) -> ClickDecoder | None:
        """The same decoder with half the arithmetic, if it can be rebuilt.

        The tests prove that the rebuilt decoder of published weights gives the same masks. Any
        other decoder is compared with its rebuilt form when it is opened.
        """
        gives = self._gives
        if gives.by_transformers or gives.full_size or gives.size or self._kind.slots:
            return None
        if gives.details and gives.kind == "sam":  # of another program: their meaning is unknown
            return None
        decoder = None
        if not is_known:
            # Compared in full precision, whatever serves.
            opened = self._open_exported(ONNX_F32)

            def exported(
                features: Floats,
                details: tuple[Halves, ...],
                coordinates: Floats,
                codes: Floats,
                mask: Floats | None,
            ) -> tuple[Floats, Floats]:
                embedding = Embedding(features, MODEL_SIDE, MODEL_SIDE, details)
                prompt = _prompt(coordinates, codes, mask)
                return self._exported(embedding, prompt, (MODEL_SIDE, MODEL_SIDE), opened)

            decoder = open_click_decoder(
                gives.model,
                lambda model: open_onnx(model, self._device, self._threads),
                exported,
                gives.kind,
                gives.stability,
            )
            if decoder is None:
                return None
        if decoder is None or self._decode_in != ONNX_F32:
            decoder = ClickDecoder(
                gives.model,
                lambda model: open_session(
                    model, self._decode_in, self._device, self._threads, CORES_A_DECODE
                ),
                gives.kind,
                gives.stability,
            )
        decoder.warm_up()
        return decoder

    def _pixels(self, image: Pixels) -> npt.NDArray[np.generic]:
        self._refuse_size(*image.shape[:2])
        takes = self._takes
        if not takes.raw:
            pixels = model_input(image, stretched=self._kind.stretches)
            return pixels.astype(takes.dtype, copy=False)
        scaled = to_model_frame(image)
        if takes.size is None:
            return scaled.astype(takes.dtype, copy=False)
        height, width = scaled.shape[:2]
        if height > takes.size[0] or width > takes.size[1]:
            raise Refusal(
                "model",
                f"this ONNX model's encoder takes images of {takes.size[1]} x {takes.size[0]}, and "
                f"one of {image.shape[1]} x {image.shape[0]} does not fit: {_OTHER_MODEL}",
            )
        # It normalises its input by itself: from the mean it makes the zeros of SAM's padding.
        canvas = np.full((*takes.size, 3), PIXEL_MEAN, np.float32)
        canvas[:height, :width] = scaled
        return canvas.astype(takes.dtype, copy=False)

    def _refuse_size(self, height: int, width: int) -> None:
        made_for = self._gives.size
        if made_for not in (None, (height, width)):
            raise Refusal(
                "model",
                f"this ONNX model was made for images of {made_for[1]} x {made_for[0]} only, and "
                f"this one has {width} x {height}: {_OTHER_MODEL}",
            )

    def _refuse_other_details(self, encoder: Path) -> None:
        made = {output.name for output in self._encoder.get_outputs()}
        lacking = [name for name in self._gives.details if name not in made]
        if lacking:
            raise SettingsError(f"{encoder} has no output {lacking[0]}, which the decoder needs")

    def _prompt_of_transformers(
        self, coordinates: Floats, codes: Floats, box: Floats | None
    ) -> dict[str, npt.NDArray[np.generic]]:
        if box is not None:
            raise Refusal(
                "model",
                "this ONNX model (of transformers.js) takes no rectangles: "
                f"use keypoints, or {_OTHER_MODEL}",
            )
        # It adds the padding point by itself.
        return {"input_points": coordinates[:, None, :-1], "input_labels": codes[:, None, :-1]}

    def _positions(self, encoder: Path) -> dict[str, Floats]:
        """The second output of transformers.js's encoder. It is the same for all images."""
        name = reader.POSITIONS
        if name not in self._gives.inputs:
            return {}
        if self._trimmed or name not in {output.name for output in self._encoder.get_outputs()}:
            raise SettingsError(f"{encoder} has no output {name}, which the decoder needs")
        part = open_onnx(reader.part_for(encoder, name), "cpu", self._threads)
        blank = np.zeros((1, 3, MODEL_SIDE, MODEL_SIDE), np.float32)
        return {name: part.run(None, {i.name: blank for i in part.get_inputs()})[0]}


def _prompt(
    coordinates: Floats, codes: Floats, mask_input: Floats | None
) -> dict[str, npt.NDArray[np.generic]]:
    """The inputs of an exported decoder, except the embedding."""
    mask = np.zeros((1, 1, LOW_RES_SIDE, LOW_RES_SIDE), np.float32)
    if mask_input is not None:
        mask[0, 0] = mask_input
    return {
        "point_coords": coordinates,
        "point_labels": codes,
        "mask_input": mask,
        "has_mask_input": np.array([mask_input is not None], np.float32),
    }


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


def _image_output(session: Session) -> str:
    names = [output.name for output in session.get_outputs()]
    return "image_embeddings" if "image_embeddings" in names else names[0]
