"""SAM on ONNX Runtime: an encoder, and a decoder that is cut so that it returns all four masks."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from sam_backend.engines.arithmetic import ONNX_F32, Arithmetic
from sam_backend.engines.decoder_choice import open_decoder
from sam_backend.engines.frame import Floats, Frame
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
from sam_backend.engines.sessions import open_session
from sam_backend.engines.trimmed_encoder import Session, TrimmedEncoder, open_trimmed
from sam_backend.engines.weights import published, sha256
from sam_backend.errors import Refusal, SettingsError
from sam_backend.formats.pictures import Pixels

_OTHER_MODEL = "choose another model (SAM_CHOICE), or make one with onnx_converter.py"
# The version of the way in which images are encoded. Increase it when embeddings change.
_ENCODING = 2
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
        as_exported: bool = False,  # with no graph rebuilt, to compare with
    ) -> None:
        self.name = name
        self._takes = reader.read_encoder(encoder)
        self._gives = reader.read_decoder(decoder)
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
        self._trimmed = None if as_exported else self._open_trimmed(encoder)
        self._encoder = self._trimmed.session if self._trimmed else self._open_encoder(encoder)
        # Names weights, preprocessing and arithmetic. It is part of the key of embeddings on disk.
        arithmetic = f"onnx-{_ENCODING}{self._precision()}"
        self._refuse_other_details(encoder)
        self._decoder = open_decoder(
            self._gives,
            decode_in,
            encoder,
            # A trimmed encoder makes features only.
            made=[] if self._trimmed else self._made(),
            device=self._device,
            threads=threads,
            is_known=published(decoder) is not None,
            as_exported=as_exported,
        )
        arithmetic += self._decoder.arrangement
        self.fingerprint = f"{arithmetic}:{sha256(encoder)}"
        self._gives = self._gives.without_graph()
        # One encode uses the whole GPU, and a second one might not fit into its memory.
        self._one_at_a_time = threading.Lock() if on_gpu else nullcontext()

    def encode(self, image: Pixels) -> Embedding:
        height, width = image.shape[:2]
        with self._one_at_a_time:
            if self._trimmed is not None:
                features, *details = self._trimmed.encode(image)
            else:
                inputs = {self._takes.image_input: self._pixels(image)}
                made = self._made()
                whole = "image_embeddings" if "image_embeddings" in made else made[0]
                wanted = [whole, *self._gives.details]
                features, *details = self._encoder.run(wanted, inputs)
        features = features.astype(np.float32, copy=False)
        halves = tuple(map(halved, details))
        return self._decoder.prepared(Embedding(features, height, width, halves))

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        self._refuse_size(embedding.height, embedding.width)
        frame = embedding.frame
        if self._kind.slots:
            return self._decoded_in_slots(embedding, points, labels, box)
        if self._kind.stretches:
            square, pads = Frame(frame.height, frame.width, stretched=True), self._kind.pads_boxes
            coordinates, codes = prompt_points(square, points, labels, box, pads_boxes=pads)
            mask = None if mask_input is None else frame.to_stretched(mask_input)
            logits, scores = self._decoder.decode(embedding, coordinates, codes, mask)
            return frame.from_stretched(logits), scores
        if box is not None and self._gives.by_transformers:
            raise Refusal(
                "model",
                "this ONNX model (of transformers.js) takes no rectangles: "
                f"use keypoints, or {_OTHER_MODEL}",
            )
        coordinates, codes = prompt_points(frame, points, labels, box)
        return self._decoder.decode(embedding, coordinates, codes, mask_input)

    def _decoded_in_slots(
        self, embedding: Embedding, points: Floats, labels: Floats, box: Floats | None
    ) -> tuple[Floats, Floats]:
        """With a decoder that takes so many points, and neither negative ones nor a mask."""
        square = Frame(embedding.height, embedding.width, stretched=True)
        coordinates, codes = slotted_points(square, points, labels, box, self._kind.slots)
        logits, scores = self._decoder.decode(embedding, coordinates, codes)
        logits, scores = four_of_three(logits[1:], scores[1:])
        return embedding.frame.from_stretched(logits), scores

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

    def _made(self) -> list[str]:
        """The names of the encoder's outputs."""
        return [output.name for output in self._encoder.get_outputs()]

    def _refuse_other_details(self, encoder: Path) -> None:
        made = self._made()
        lacking = [name for name in self._gives.details if name not in made]
        if lacking:
            raise SettingsError(f"{encoder} has no output {lacking[0]}, which the decoder needs")
