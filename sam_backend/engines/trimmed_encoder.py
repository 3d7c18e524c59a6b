"""Runs an image encoder on the part of the square that contains the image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx

from sam_backend import memory
from sam_backend.engines.frame import MODEL_SIDE, Floats, Frame
from sam_backend.engines.graph.any_size_encoder import AnySizeEncoder, any_size, inputs, used
from sam_backend.engines.protocol import model_input
from sam_backend.formats.pictures import Pixels

logger = logging.getLogger("sam_backend")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Named:
    """An input or an output of a model."""

    name: str


class Session(Protocol):
    """The common interface of an encoder on ONNX Runtime and on OpenVINO."""

    def get_inputs(self) -> Sequence[Named]: ...

    def get_outputs(self) -> Sequence[Named]: ...

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Array]) -> list[Array]: ...


OpenSession = Callable[[onnx.ModelProto], Session]


class TrimmedEncoder:
    """Encodes the rows and columns that contain the image. The rest comes from an empty image.

    The decoder recognises padding by its embedding at that place. With a constant instead, some
    second clicks go wrong.
    """

    def __init__(self, encoder: AnySizeEncoder, open_session: OpenSession) -> None:
        self._sizes = encoder.sizes  # and not the graph, which takes as much memory as its weights
        self.session = open_session(encoder.model)
        self._input = self.session.get_inputs()[0].name
        self._outputs = [output.name for output in encoder.model.graph.output]
        # It takes as long as an image, so only the first image waits for it.
        ahead = ThreadPoolExecutor(1, thread_name_prefix="empty-image")
        self._empty = ahead.submit(
            lambda: self._run(np.zeros((1, 3, MODEL_SIDE, MODEL_SIDE), np.float32))
        )
        ahead.submit(self._give_back)
        ahead.shutdown(wait=False)

    def encode(self, image: Pixels) -> list[Floats]:
        """Features (1, C, 64, 64) of an RGB image (H, W, 3), and the details if there are any."""
        height, width = (used(size) for size in Frame(*image.shape[:2]).scaled)
        found = self._run(model_input(image, height, width))
        if (height, width) == (MODEL_SIDE, MODEL_SIDE):
            return found
        whole = [empty.copy() for empty in self._empty.result()]
        for square, part in zip(whole, found, strict=True):
            square[:, :, : part.shape[2], : part.shape[3]] = part
        return whole

    def _run(self, pixels: Floats) -> list[Floats]:
        sizes = inputs(self._sizes, *pixels.shape[2:])
        return self.session.run(self._outputs, {self._input: pixels, **sizes})

    def _give_back(self) -> None:
        """The whole square takes more memory to work in than a photo, which rarely fills it."""
        release = getattr(self.session, "release_memory", None)  # ONNX Runtime keeps what it has
        if release:
            release()
        memory.give_back()


def open_trimmed(model: onnx.ModelProto, open_session: OpenSession) -> TrimmedEncoder | None:
    """An encoder without padding, if the graph is a known one."""
    try:
        return TrimmedEncoder(any_size(model), open_session)
    except ValueError as error:
        logger.info("the encoder takes whole squares: %s", error)
        return None
