"""The images of tasks: their embeddings and pixels."""

from __future__ import annotations

from pathlib import Path

from sam_backend import watched_click
from sam_backend.engines.protocol import Embedding
from sam_backend.errors import Refusal
from sam_backend.formats.pictures import Pixels
from sam_backend.images import sources
from sam_backend.images.loader import Images
from sam_backend.images.tasks import Picture
from sam_backend.label_studio.access import LabelStudioAccess


class TaskImages:
    """Finds the source of a task's image, and loads the image."""

    def __init__(
        self, images: Images, access: LabelStudioAccess, local_files_root: Path | None
    ) -> None:
        self._images = images
        self._access = access
        self._local_files_root = local_files_root

    def embedding(self, picture: Picture, browser_size: tuple[int, int] | None = None) -> Embedding:
        """The embedding of a picture. Refusal if its size differs from the browser's, if given."""
        with watched_click.stage("image"):
            embedding = self._images.embedding(self._source(picture))
        if browser_size is not None and (embedding.width, embedding.height) != browser_size:
            raise Refusal(
                "image",
                f"the image is {embedding.width}x{embedding.height} pixels here, but "
                f"{browser_size[0]}x{browser_size[1]} in the browser: a mask would be shifted",
            )
        return embedding

    def pixels(self, picture: Picture) -> Pixels:
        """The pixels of a picture, RGB (H, W, 3)."""
        return self._images.pixels(self._source(picture))

    def prefetch(self, picture: Picture, *, behind: bool = False) -> None:
        """Encodes a picture in the background. `behind`: after all others."""
        self._images.prefetch(self._source(picture), behind=behind)

    def _source(self, picture: Picture) -> sources.Source:
        return sources.resolve(
            picture.address,
            picture.task_id,
            self._access.connection(picture.project.from_setup),
            self._local_files_root,
        )
