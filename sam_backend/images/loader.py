"""From an image's source to its embedding: at once for a click, ahead for an opened task."""

from __future__ import annotations

from sam_backend.embeddings.cache import Embeddings
from sam_backend.embeddings.prefetch import Prefetcher
from sam_backend.engines.protocol import Embedding
from sam_backend.errors import Busy
from sam_backend.formats.pictures import Pixels
from sam_backend.images.downloads import Downloads
from sam_backend.images.encoding import PictureEncoder
from sam_backend.images.sources import Source

# Opened tasks that are not encoded yet. An annotator who opens more is only skipping through.
MOST_PREFETCHES = 16


class Images:
    """The images that annotators look at, by their source."""

    def __init__(
        self, embeddings: Embeddings, downloads: Downloads, encoder: PictureEncoder
    ) -> None:
        self.embeddings = embeddings
        self.prefetcher = Prefetcher(MOST_PREFETCHES)
        self._downloads = downloads
        self._encoder = encoder

    def embedding(self, source: Source) -> Embedding:
        """The embedding for a click: from the cache, or encoded before any other image."""
        try:
            found = self.embeddings.get(
                source.key,
                self._encoder.model,
                lambda: self._downloads.fetch(source),
                self._encoder.encode,
                self._downloads.turn(source),
            )
        except Busy:
            self.prefetch(source)  # for the next click
            raise
        if self._downloads.is_check_due(source):
            self.prefetch(source, behind=True)
        return found

    def pixels(self, source: Source) -> Pixels:
        """The pixels, RGB (H, W, 3). They are not cached."""
        return self._encoder.pixels(self._downloads.fetch(source).content)

    def prefetch(self, source: Source, *, behind: bool = False) -> None:
        """Encodes ahead, in the background. `behind`: after all others, for an unopened task."""
        self.prefetcher.ask(source.key, lambda: self._make_ready(source), behind=behind)

    def fresh_embedding(self, source: Source) -> Embedding:
        """For a program: the embedding of the image that the address has now."""
        with self._downloads.slot(source):
            changed = self._downloads.changed(source)
        if changed is None:
            return self.embedding(source)
        return self.embeddings.refresh(
            source.key, self._encoder.model, lambda: changed, self._encoder.encode
        )

    def _make_ready(self, source: Source) -> None:
        model = self._encoder.model
        self._encoder.wait_for_a_gap()
        changed = self._downloads.changed(source)
        ahead = self._encoder.encode_ahead
        if changed is not None:
            self.embeddings.refresh(source.key, model, lambda: changed, ahead)
        else:
            self.embeddings.get(source.key, model, lambda: self._downloads.fetch(source), ahead)
