"""From an image's source to its embedding: at once for a click, ahead for an opened task."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext

from cachetools import TTLCache

from sam_backend import metrics, watched_click
from sam_backend.embeddings.cache import Embeddings
from sam_backend.embeddings.content_index import Known
from sam_backend.embeddings.of_machines import MachinesEmbeddings
from sam_backend.embeddings.prefetch import Prefetcher
from sam_backend.engines.protocol import Embedding
from sam_backend.errors import Busy
from sam_backend.formats import pictures
from sam_backend.formats.pictures import Pixels
from sam_backend.images.download_slots import DownloadSlots
from sam_backend.images.fetching import Fetcher
from sam_backend.images.sources import Source
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.machines.common_store import CommonStore
from sam_backend.net.downloaded import Download
from sam_backend.settings import Settings
from sam_backend.shared.loading_engine import LoadingEngine

# Opened tasks that are not encoded yet. An annotator who opens more is only skipping through.
MOST_PREFETCHES = 16
# A click assumes that the image at an address is unchanged. Opening a task checks it, unless the
# last check was a moment ago. Clicks have it checked for the next ones.
RECHECK_S = 60.0
# Larger images are decoded one at a time: decoding 200 megapixels takes over a gigabyte.
LARGE_PIXELS = 50_000_000


class Images:
    """The images that annotators look at, by their source."""

    def __init__(
        self,
        settings: Settings,
        access: LabelStudioAccess,
        engine: LoadingEngine,
        common_store: CommonStore | None = None,
    ) -> None:
        self.embeddings = Embeddings.in_folder(
            settings.cache_dir,
            settings.cache_mb << 20,
            settings.cache_disk_mb << 20,
            MachinesEmbeddings(common_store) if common_store else None,
        )
        self.prefetcher = Prefetcher(MOST_PREFETCHES)
        self._slots = DownloadSlots(settings.threads)
        self._most_pixels = settings.max_image_megapixels * 1_000_000
        self._large_image = threading.Lock()
        self._lock = threading.Lock()
        self._checked: TTLCache[str, None] = TTLCache(maxsize=1000, ttl=RECHECK_S)
        self.fetcher = Fetcher(settings, access)
        self._schedule = engine.schedule
        self._engine = engine

    def embedding(self, source: Source) -> Embedding:
        """The embedding for a click: from the cache, or encoded before any other image."""
        try:
            found = self.embeddings.get(
                source.key,
                self._engine.ready().fingerprint,
                lambda: self._download(source),
                lambda content: self._encode(content, self._schedule.encode()),
                self._slots.take(source.host) if source.host else nullcontext(),
            )
        except Busy:
            self.prefetch(source)  # for the next click
            raise
        self._check_later(source)
        return found

    def pixels(self, source: Source) -> Pixels:
        """The pixels, RGB (H, W, 3). They are not cached."""
        return pictures.decode(self._download(source).content, self._most_pixels)

    def prefetch(self, source: Source, *, behind: bool = False) -> None:
        """Encodes ahead, in the background. `behind`: after all others, for an unopened task."""
        self.prefetcher.ask(source.key, lambda: self._make_ready(source), behind=behind)

    def fresh_embedding(self, source: Source) -> Embedding:
        """For a program: the embedding of the image that the address has now."""
        with self._slots.take(source.host) if source.host else nullcontext():
            changed = self._changed(source)
        if changed is None:
            return self.embedding(source)
        return self.embeddings.refresh(
            source.key,
            self._engine.ready().fingerprint,
            lambda: changed,
            lambda content: self._encode(content, self._schedule.encode()),
        )

    def _check_later(self, source: Source) -> None:
        """Asks in the background whether the image is unchanged, for the next click on it.

        Only where a few bytes can answer that, and no more often than when tasks are opened.
        """
        known = self.embeddings.known(source.key)
        if known is None or known.validator is None or _is_recent(known):
            return
        with self._lock:
            if source.key in self._checked:
                return
            self._checked[source.key] = None
        self.prefetch(source, behind=True)

    def _make_ready(self, source: Source) -> None:
        model = self._engine.ready().fingerprint
        self._schedule.wait_for_a_gap()

        def encode(content: bytes) -> Embedding:
            return self._encode(content, nullcontext())

        changed = self._changed(source)
        if changed is not None:
            self.embeddings.refresh(source.key, model, lambda: changed, encode)
        else:
            self.embeddings.get(source.key, model, lambda: self._download(source), encode)

    def _changed(self, source: Source) -> Download | None:
        """A new download, if a known address has other content now."""
        known = self.embeddings.known(source.key)
        if known is None or _is_recent(known):
            return None
        changed = self.fetcher.fetch_if_changed(source, known.validator)
        if changed is None:
            self.embeddings.confirm(source.key, known)
        return changed

    def _download(self, source: Source) -> Download:
        with metrics.STAGE.labels("fetch").time():
            return self.fetcher.fetch(source)

    def _encode(self, content: bytes, slot: AbstractContextManager[None]) -> Embedding:
        is_large = pictures.count(content) > LARGE_PIXELS
        with self._large_image if is_large else nullcontext():
            with metrics.STAGE.labels("picture").time():
                pixels = pictures.decode(content, self._most_pixels)
            with slot, metrics.STAGE.labels("encode").time(), watched_click.stage("encode"):
                return self._engine.ready().encode(pixels)


def _is_recent(known: Known) -> bool:
    """Whether the last check was a moment ago. In the future: the clock was put back."""
    return 0 <= time.time() - known.checked <= RECHECK_S
