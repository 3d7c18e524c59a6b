"""The images that programs gave: from what a request says to an embedding, and its id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sam_backend.errors import Refusal
from sam_backend.formats.pictures import Pixels
from sam_backend.images import sources
from sam_backend.images.sources import Source
from sam_backend.programs.image import EmbeddedImage
from sam_backend.server.programs import problems
from sam_backend.server.programs.fields import ImageFields
from sam_backend.services import Services
from sam_backend.shared.program_ids import KEPT_S


@dataclass(frozen=True)
class KeptImage:
    """An image, and the id under which programs find it again."""

    id: str
    image: EmbeddedImage

    def facts(self) -> dict[str, Any]:
        """What every answer says of its image."""
        size = {"width": self.image.width, "height": self.image.height}
        return {"image_id": self.id, **size, "kept_seconds": KEPT_S}


class ImageIds(Protocol):
    """The ids of images, and the SHA-256 of the content that each stands for."""

    def content(self, image_id: str) -> str | None: ...

    def add_image(self, content: str, id_: str | None = None) -> str: ...

    def remove_image(self, image_id: str) -> str | None: ...


class KeptImages:
    """Finds the content of an image by its id, and its embedding in the cache by its content."""

    def __init__(self, services: Services, ids: ImageIds) -> None:
        self._services = services
        self._ids = ids

    def find(self, asked: ImageFields, name: str | None = None) -> KeptImage:
        """The image of a request. It gets a new id if it was sent or has an address.

        `name` is an id of the program's own choice.
        """
        if asked.id is not None:
            return self._by_id(asked.id)
        source = self._source(asked)
        embedding = self._services.images.fresh_embedding(source)
        known = self._services.images.embeddings.known(source.key)
        if known is None:  # the index is full of others, for a moment
            raise Refusal("image", "the image could not be kept: send the request again")
        id_ = self._ids.add_image(known.content, name)
        return KeptImage(id_, EmbeddedImage(self._services.engine.ready(), embedding))

    def pixels(self, asked: ImageFields) -> Pixels:
        """The pixels of an image in a request, or at an address in it. They are not kept."""
        return self._services.images.pixels(self._source(asked))

    def forget(self, image_id: str) -> None:
        """Removes an image and its answers, and its embedding if no other id stands for it."""
        if self._ids.content(image_id) is None:
            raise problems.unknown_image()
        content = self._ids.remove_image(image_id)
        if content is not None:
            self._services.images.embeddings.forget(
                content, self._services.engine.ready().fingerprint
            )

    def _source(self, asked: ImageFields) -> Source:
        if asked.content is None:
            # Without a Label Studio: no token of its goes anywhere, and no local file is read.
            source = sources.resolve(asked.url or "", "", None, None)
            # A click may have read the same address with the token.
            return replace(source, key=f"for programs: {source.key}")
        self._check_size(asked.content)
        digest = hashlib.sha256(asked.content).hexdigest()
        return Source(key=f"sha256:{digest}", content=asked.content)

    def _by_id(self, image_id: str) -> KeptImage:
        engine = self._services.engine.ready()
        content = self._ids.content(image_id)
        embeddings = self._services.images.embeddings
        found = embeddings.of_content(content, engine.fingerprint) if content else None
        if found is None:
            raise problems.unknown_image()
        return KeptImage(image_id, EmbeddedImage(engine, found))

    def _check_size(self, content: bytes) -> None:
        most_mb = self._services.settings.max_image_mb
        if len(content) > most_mb << 20:
            raise Refusal("image", f"the image is over {most_mb} MB (MAX_IMAGE_MB)")
