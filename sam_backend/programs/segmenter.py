"""The way in for programs: a model that is opened once, and the images that it embeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from sam_backend.clicks import words
from sam_backend.embeddings.packed import rounded
from sam_backend.engines.protocol import Engine
from sam_backend.formats.pictures import Pixels
from sam_backend.programs import opening
from sam_backend.programs.image import EmbeddedImage
from sam_backend.programs.mask import ObjectMask
from sam_backend.programs.pixels import ImageSource, name_of, pixels_of

_READ_AHEAD = 2  # images: while one is encoded, the next is decoded


class Segmenter:
    """A Segment Anything model in this process. Threads may share it.

    >>> image = Segmenter().embed("photo.jpg")
    >>> mask = image.segment(points=[(300, 200)])
    >>> mask.array.shape
    (426, 640)
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        device: str | None = None,
        model_dir: str | Path | None = None,
        engine: Engine | None = None,
        text_model: str | None = None,
    ) -> None:
        """Opens the model that the settings choose, as the server does.

        `model`, `device`, `model_dir` and `text_model` stand for SAM_CHOICE, DEVICE, MODEL_DIR and
        SAM_TEXT_MODEL. `engine` is a model that is open already. SettingsError says in one line
        which weights are missing and how to download them.
        """
        given = {
            "SAM_CHOICE": model,
            "DEVICE": device,
            "MODEL_DIR": model_dir,
            "SAM_TEXT_MODEL": text_model,
        }
        self._engine, self._text = opening.opened(given, engine)

    def embed(self, image: ImageSource) -> EmbeddedImage:
        """Runs the encoder, which takes much longer than segmenting does.

        image: a path, the bytes of a file, a PIL image, or an array of RGB pixels (H, W, 3).
        """
        return self._encoded(pixels_of(image), name_of(image))

    def segment_text(
        self, image: ImageSource, phrases: Iterable[str]
    ) -> dict[str, list[ObjectMask]]:
        """The masks of all objects that each phrase names, best first.

        It needs a model that understands words, see `text_model`. Refusal if there is none.
        """
        pixels = pixels_of(image)
        embedding = rounded(self._engine.encode(pixels))
        find = self._text.in_image(embedding.digest, lambda: pixels)
        found: dict[str, list[ObjectMask]] = {}
        for phrase in phrases:
            masks = words.masks(find(phrase), self._engine, embedding)
            found[phrase] = [ObjectMask(each.mask, each.score, embedding) for _, each in masks]
        return found

    def embed_all(
        self, images: Iterable[ImageSource], *, progress: bool | None = None
    ) -> Iterator[EmbeddedImage]:
        """The images, one after the other, with a progress bar.

        While one is encoded, the next file is read. progress: None shows the bar in a terminal.
        """
        total = len(images) if isinstance(images, Sized) else None
        is_hidden = None if progress is None else not progress
        sources = iter(images)
        with (
            ThreadPoolExecutor(1, thread_name_prefix="read-image") as reader,
            tqdm(total=total, unit="image", disable=is_hidden) as bar,
        ):
            waiting: list[tuple[str, Future[Pixels]]] = []
            while True:
                waiting += [
                    (name_of(source), reader.submit(pixels_of, source))
                    for source in islice(sources, _READ_AHEAD - len(waiting))
                ]
                if not waiting:
                    return
                name, pixels = waiting.pop(0)
                yield self._encoded(pixels.result(), name)
                bar.update()

    def _encoded(self, pixels: Pixels, name: str) -> EmbeddedImage:
        # Rounded as the server's cache does it, so that both give the same masks.
        return EmbeddedImage(self._engine, rounded(self._engine.encode(pixels)), name)
