"""The text model of a process: opened at its first use, with its last answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from cachetools import LRUCache

from sam_backend import watched_click
from sam_backend.engines.text_protocol import Finder, Finding
from sam_backend.errors import Refusal, SettingsError
from sam_backend.formats.pictures import Pixels

KEPT_ANSWERS = 256  # lists of boxes
_MISSING = (
    "this server has no model that understands words: set SAM_TEXT_MODEL to a folder or to a name "
    "on the Hugging Face hub, see docs/models.md"
)


class TextSearch:
    """Finds what phrases name. An editor sends all phrases of a text with each new one."""

    def __init__(
        self,
        open_model: Callable[[], Finder] | None,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`turn`: what each run of the model waits for."""
        self._open = open_model
        self._turn = turn
        self._model: Finder | None = None
        self._opening = threading.Lock()
        self._answers: LRUCache[tuple[bytes, str], list[Finding]] = LRUCache(KEPT_ANSWERS)
        self._lock = threading.Lock()

    def in_image(
        self, image: bytes, pixels: Callable[[], Pixels]
    ) -> Callable[[str], list[Finding]]:
        """A function that finds a phrase in one image. See `find`."""
        return lambda phrase: self.find(image, phrase, pixels)

    def find(self, image: bytes, phrase: str, pixels: Callable[[], Pixels]) -> list[Finding]:
        """What a phrase names in an image, best first. `image` is the digest of its embedding.

        Refusal if there is no text model.
        """
        key = image, phrase.lower()
        with self._lock:
            known = self._answers.get(key)
        if known is not None:
            return known
        with watched_click.stage("encode"):
            model, image_pixels = self._ready(), pixels()
            with self._turn():
                found = model.find(image_pixels, phrase)
        if all(finding.mask is None for finding in found):  # masks of large images need much room
            with self._lock:
                self._answers[key] = found
        return found

    def _ready(self) -> Finder:
        if self._open is None:
            raise Refusal("config", _MISSING)
        with self._opening:
            if self._model is None:
                try:
                    self._model = self._open()
                except SettingsError as error:
                    raise Refusal("config", str(error)) from None
        return self._model
