"""The content of an image's address: downloaded within limits, and checked for changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from cachetools import TTLCache

from sam_backend import metrics
from sam_backend.embeddings.cache import Embeddings
from sam_backend.images.download_slots import DownloadSlots
from sam_backend.images.fetching import Fetcher
from sam_backend.images.sources import Source
from sam_backend.net.downloaded import Download
from sam_backend.shared import click_budget

# A click assumes that the image at an address is unchanged. Opening a task checks it, unless the
# last check was a moment ago. Clicks have it checked for the next ones.
RECHECK_S = 60.0


class Downloads:
    """Downloads images, and knows which addresses to check again."""

    def __init__(self, fetcher: Fetcher, slots: DownloadSlots, embeddings: Embeddings) -> None:
        self._fetcher = fetcher
        self._slots = slots
        self._embeddings = embeddings  # they record what an address had, and when
        self._lock = threading.Lock()
        self._checked: TTLCache[str, None] = TTLCache(maxsize=1000, ttl=RECHECK_S)

    def slot(self, source: Source) -> AbstractContextManager[None]:
        """A request holds it while it downloads. Files and inline images need none."""
        return self._slots.take(source.host) if source.host else nullcontext()

    @contextmanager
    def turn(self, source: Source) -> Iterator[None]:
        """A click holds it while it gets a new image. OutOfImages if it got too many already.

        Images are counted here, before several clicks share one download: an error of the download
        reaches all of them.
        """
        click_budget.spend_image()
        with self.slot(source):
            yield

    def fetch(self, source: Source) -> Download:
        """The image. Refusal if it cannot be fetched."""
        with metrics.STAGE.labels("fetch").time():
            return self._fetcher.fetch(source)

    def changed(self, source: Source) -> Download | None:
        """A new download, if a known address has other content now."""
        known = self._embeddings.known(source.key)
        if known is None or known.was_checked_within(RECHECK_S):
            return None
        changed = self._fetcher.fetch_if_changed(source, known.validator)
        if changed is None:
            self._embeddings.confirm(source.key, known)
        return changed

    def is_check_due(self, source: Source) -> bool:
        """Whether a click should have the image checked for the next one. True once in a while.

        Only where a few bytes can answer that, and no more often than when tasks are opened.
        """
        known = self._embeddings.known(source.key)
        if known is None or known.validator is None or known.was_checked_within(RECHECK_S):
            return False
        with self._lock:
            if source.key in self._checked:
                return False
            self._checked[source.key] = None
        return True
