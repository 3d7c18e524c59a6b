"""Embeddings in memory: the last images, up to a number of bytes, each encoded once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from operator import attrgetter

from cachetools import LRUCache, cachedmethod

from sam_backend.engine import Embedding


class Embeddings:
    """A cache in which any number of requests for one image cost one encode."""

    def __init__(self, limit_bytes: int) -> None:
        self._cache: LRUCache[str, Embedding] = LRUCache(
            maxsize=limit_bytes, getsizeof=attrgetter("nbytes")
        )
        self._condition = threading.Condition()

    @cachedmethod(
        attrgetter("_cache"),
        key=lambda _self, key, _make: key,
        condition=attrgetter("_condition"),
    )
    def get(self, key: str, make: Callable[[], Embedding]) -> Embedding:  # noqa: ARG002
        """The embedding under this key; whoever comes first makes it, the others wait for it."""
        return make()

    def __len__(self) -> int:
        return len(self._cache)

    @property
    def nbytes(self) -> int:
        return int(self._cache.currsize)
