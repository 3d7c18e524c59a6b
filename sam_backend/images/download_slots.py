"""A limit on the requests that wait for downloads, so that slow hosts do not block the others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sam_backend.errors import Refusal

PATIENCE_S = 2.0  # how long a request waits for a free slot


class DownloadSlots:
    """Slots in all, and for one host. The other threads serve requests without a download."""

    def __init__(self, threads: int) -> None:
        self._in_all = max(1, threads * 3 // 4)
        self._for_one_host = max(1, threads // 2)
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, host: str) -> Iterator[None]:
        """A slot for the time of a download, or of waiting for another thread's download."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_free(host), PATIENCE_S):
                raise Refusal(
                    "image",
                    f"too many images are being fetched from slow hosts (here {host}): "
                    "click again in a moment",
                )
            self._taken[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[host] -= 1
                if not self._taken[host]:
                    del self._taken[host]
                self._changed.notify_all()

    def _is_free(self, host: str) -> bool:
        return self._taken.total() < self._in_all and self._taken[host] < self._for_one_host
