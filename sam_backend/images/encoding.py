"""From the content of an image file to its embedding."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

from sam_backend import metrics, watched_click
from sam_backend.engines.protocol import Embedding
from sam_backend.formats import pictures
from sam_backend.formats.pictures import Pixels
from sam_backend.shared.loading_engine import LoadingEngine

# Larger images are decoded one at a time: decoding 200 megapixels takes over a gigabyte.
LARGE_PIXELS = 50_000_000


class PictureEncoder:
    """Decodes image files and encodes their pixels, in the turn of a click or in a gap."""

    def __init__(self, engine: LoadingEngine, most_pixels: int) -> None:
        self._engine = engine
        self._most_pixels = most_pixels
        self._large_image = threading.Lock()

    @property
    def model(self) -> str | None:
        """The name of the engine's weights and preprocessing, if they have one."""
        return self._engine.ready().fingerprint

    def pixels(self, content: bytes) -> Pixels:
        """The pixels of an image file, RGB (H, W, 3)."""
        return pictures.decode(content, self._most_pixels)

    def encode(self, content: bytes) -> Embedding:
        """For a click: encodes when it is the click's turn."""
        return self._encode(content, self._engine.schedule.encode())

    def encode_ahead(self, content: bytes) -> Embedding:
        """Before any click: encodes without a turn. Call `wait_for_a_gap` first."""
        return self._encode(content, nullcontext())

    def wait_for_a_gap(self) -> None:
        """Waits until no click encodes, decodes or waits."""
        self._engine.schedule.wait_for_a_gap()

    def _encode(self, content: bytes, slot: AbstractContextManager[None]) -> Embedding:
        is_large = pictures.count(content) > LARGE_PIXELS
        with self._large_image if is_large else nullcontext():
            with metrics.STAGE.labels("picture").time():
                pixels = self.pixels(content)
            with slot, metrics.STAGE.labels("encode").time(), watched_click.stage("encode"):
                return self._engine.ready().encode(pixels)
