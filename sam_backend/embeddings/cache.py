"""Embeddings by image: in memory, on disk, on other machines, each image encoded once."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from operator import attrgetter
from pathlib import Path

from cachetools import LRUCache

from sam_backend import metrics
from sam_backend.embeddings.content_index import ContentIndex, Known
from sam_backend.embeddings.of_machines import MachinesEmbeddings
from sam_backend.embeddings.packed import rounded
from sam_backend.embeddings.single_flight import SingleFlight
from sam_backend.embeddings.store import EmbeddingStore
from sam_backend.engines.protocol import Embedding
from sam_backend.net.downloaded import Download

MOST_UNWRITTEN = 4  # more would fill the memory if the disk is slow
MOST_IN_USE = 16  # more than are decoded at once


class Embeddings:
    """Bounded tiers: memory, disk, and other machines if there are any.

    Their key is the content of the image, not its address.

    So an image with two addresses is encoded once, and an image that changed at its address never
    gets the old embedding. An index finds the content of a known address quickly.
    """

    def __init__(
        self,
        limit_bytes: int,
        store: EmbeddingStore | None = None,
        index: ContentIndex | None = None,
        machines: MachinesEmbeddings | None = None,
    ) -> None:
        self._memory: LRUCache[str, Embedding] = LRUCache(
            maxsize=limit_bytes, getsizeof=attrgetter("nbytes")
        )
        # The names of the last ones that were asked for. Decodes may add to these.
        self._in_use: deque[str] = deque(maxlen=MOST_IN_USE)
        self._lock = threading.Lock()
        self._store = store
        self._index = index or ContentIndex(None)
        self._machines = machines
        self._reading: SingleFlight[tuple[str, bytes]] = SingleFlight()
        self._making: SingleFlight[Embedding] = SingleFlight()
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="write-embedding")
        self._unwritten = threading.Semaphore(MOST_UNWRITTEN)

    @classmethod
    def in_folder(
        cls,
        folder: Path,
        memory_bytes: int,
        disk_bytes: int,
        machines: MachinesEmbeddings | None = None,
    ) -> Embeddings:
        """With the tiers of this machine and of others. 0 bytes of disk: nothing is on disk."""
        return cls(
            memory_bytes,
            EmbeddingStore(folder / "embeddings", disk_bytes) if disk_bytes else None,
            ContentIndex(folder / "sources.sqlite3" if disk_bytes else None),
            machines,
        )

    def get(
        self,
        source_key: str,
        model: str | None,
        read: Callable[[], Download],
        encode: Callable[[bytes], Embedding],
        reading: AbstractContextManager[None] | None = None,
    ) -> Embedding:
        """The embedding of the image at an address. Reads the image only if it is new.

        `model` names weights and preprocessing; without it, all stays in memory. `reading` is
        held while this thread reads the image, or waits for another thread that reads it.
        """
        return self.find(source_key, model) or self.refresh(
            source_key, model, read, encode, reading
        )

    def refresh(
        self,
        source_key: str,
        model: str | None,
        read: Callable[[], Download],
        encode: Callable[[bytes], Embedding],
        reading: AbstractContextManager[None] | None = None,
    ) -> Embedding:
        """The embedding of the present content of an address."""

        def read_once() -> tuple[str, bytes]:
            download = read()
            content = hashlib.sha256(download.content).hexdigest()
            self._index.put(source_key, content, download.validator)
            return _name(model, content), download.content

        with reading or contextlib.nullcontext():
            name, content = self._reading.do(source_key, read_once)
        return self._making.do(
            name, lambda: self._encode_once(name, model, lambda: encode(content))
        )

    def find(self, source_key: str, model: str | None) -> Embedding | None:
        """The embedding, if no fetch and no encode is needed."""
        known = self._index.get(source_key)
        return None if known is None else self._load(_name(model, known.content), model)

    def of_content(self, content: str, model: str | None) -> Embedding | None:
        """The embedding of the image with this SHA-256, if it is kept.

        Waits for a worker or a machine that is writing it at this moment.
        """
        name = _name(model, content)
        found = self._load(name, model)
        if found is None and self._store and model:
            with self._store.lock(name):
                found = self._load_here(name, model)
        if found is None and self._machines and model:
            with self._machines.made_once(name) as made:
                found = self._from_machines(name, made)
        return found

    def forget(self, content: str, model: str | None) -> None:
        """Removes the embedding of the image with this SHA-256 from all tiers."""
        name = _name(model, content)
        with self._lock:
            self._memory.pop(name, None)
        if self._store and model:
            with self._store.lock(name):
                self._store.remove(name)
        if self._machines and model:
            self._machines.remove(name)

    def known(self, source_key: str) -> Known | None:
        """The content of an address when it was last read."""
        return self._index.get(source_key)

    def confirm(self, source_key: str, known: Known) -> None:
        """Records that the content of an address is unchanged."""
        self._index.put(source_key, known.content, known.validator)

    def __len__(self) -> int:
        return len(self._memory)

    @property
    def nbytes(self) -> int:
        return int(self._memory.currsize)

    @property
    def store(self) -> EmbeddingStore | None:
        return self._store

    def _encode_once(
        self, name: str, model: str | None, encode: Callable[[], Embedding]
    ) -> Embedding:
        store, machines = (self._store, self._machines) if model else (None, None)
        tiers = [tier for tier in (machines, store) if tier]
        with contextlib.ExitStack() as held:
            if store:
                held.enter_context(store.lock(name))
            found = self._load_here(name, model)  # another thread or worker made it a moment ago
            if found is None and machines:
                found = self._from_machines(name, held.enter_context(machines.made_once(name)))
            if found is not None:
                return found
            metrics.CACHE.labels("miss").inc()
            embedding = rounded(encode())
            self._keep(name, embedding)
            if tiers:
                # The click does not wait for the disk. Others wait, because of the locks.
                self._unwritten.acquire()
                self._writing.submit(self._write, held.pop_all(), tiers, name, embedding)
        return embedding

    def _write(
        self,
        held: contextlib.ExitStack,
        tiers: Sequence[EmbeddingStore | MachinesEmbeddings],
        name: str,
        embedding: Embedding,
    ) -> None:
        try:
            with held:
                for tier in tiers:
                    tier.put(name, embedding)
        finally:
            self._unwritten.release()

    def _load(self, name: str, model: str | None) -> Embedding | None:
        found = self._load_here(name, model)
        if found is None and self._machines and model:
            found = self._from_machines(name, self._machines.get(name))
        return found

    def _load_here(self, name: str, model: str | None) -> Embedding | None:
        with self._lock:
            embedding = self._memory.get(name)
            if embedding is not None:
                self._put(name, embedding)
        if embedding is not None:
            metrics.CACHE.labels("memory").inc()
            return embedding
        embedding = self._store.get(name) if self._store and model else None
        if embedding is not None:
            metrics.CACHE.labels("disk").inc()
            self._keep(name, embedding)
        return embedding

    def _from_machines(self, name: str, embedding: Embedding | None) -> Embedding | None:
        if embedding is not None:
            metrics.CACHE.labels("machines").inc()
            self._keep(name, embedding)
            # If the disk is slow, it may do without.
            if self._store and self._unwritten.acquire(blocking=False):
                nothing = contextlib.ExitStack()
                self._writing.submit(self._write, nothing, [self._store], name, embedding)
        return embedding

    def _keep(self, name: str, embedding: Embedding) -> None:
        with self._lock:
            self._put(name, embedding)

    def _put(self, name: str, embedding: Embedding) -> None:
        """Keeps an embedding, and counts what decodes added to the last ones. Hold the lock."""
        if name in self._in_use:
            self._in_use.remove(name)
        self._in_use.append(name)
        for key in self._in_use:
            found = embedding if key == name else self._memory.get(key)
            if found is not None:
                # An embedding larger than the whole cache is used once and forgotten.
                with contextlib.suppress(ValueError):
                    self._memory[key] = found
        metrics.CACHE_BYTES.set(self.nbytes)


def _name(model: str | None, content: str) -> str:
    return hashlib.sha256(f"{model or ''}\n{content}".encode()).hexdigest()
