"""Embeddings on disk: bounded, shared by all workers of a machine, kept across restarts.

Each file holds one embedding in half precision: a header, then the features. A file that is cut
off, changed or of another format is a miss and is deleted. Nothing in a file is ever executed.

It is written by hand. diskcache has had no release since 2023 and unpickles what it reads, so a
file in the folder could run code.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sam_backend import private_files
from sam_backend.engines.protocol import Embedding

logger = logging.getLogger("sam_backend")

_MAGIC = b"SAMEMB01"
# Magic; height and width of the image; channels, rows and columns of the features; their CRC-32.
_HEAD = struct.Struct("<8sIIIIII")
_SUFFIX = ".embedding"
# A temporary file that is older than this was left by a writer that was killed.
_ABANDONED_S = 600.0
_SPARE = 0.9  # an eviction makes room for several files, so that it is not needed for each write


def rounded(embedding: Embedding) -> Embedding:
    """The embedding as it would come back from disk, so that a restart changes no mask.

    In memory its channels come last, because decoding reads one image token after another.
    """
    half = embedding.features.astype(np.float16)
    if not np.isfinite(half).all():
        return embedding
    features = half.transpose(0, 2, 3, 1).astype(np.float32, order="C").transpose(0, 3, 1, 2)
    return Embedding(features, embedding.height, embedding.width)


class EmbeddingStore:
    """Reads and writes one folder. If that fails, embeddings stay in memory only."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._locks = folder / "locks"
        self._limit = limit_bytes
        self._warned = False
        try:
            private_files.folder(folder, _is_ours)
            private_files.folder(self._locks, lambda _: True)
        except OSError as error:
            self._warn(error)

    def get(self, name: str) -> Embedding | None:
        """The embedding of that name, if its file is complete."""
        path = self._path(name)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        embedding = _parsed(content)
        with contextlib.suppress(OSError):  # another worker may have evicted it
            if embedding is None:
                path.unlink()
            else:
                os.utime(path)  # eviction goes by the time of last use
        return embedding

    def put(self, name: str, embedding: Embedding) -> None:
        """Writes an embedding. After a crash, the file is complete or absent."""
        content = _formatted(embedding)
        if content is None or len(content) > self._limit:
            return
        temporary = self._folder / f"{name}.{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            try:
                private_files.write(temporary, content)
                temporary.replace(self._path(name))
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            self._evict()
        except OSError as error:
            self._warn(error)

    def remove(self, name: str) -> None:
        """Deletes an embedding, if it is there."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            self._warn(error)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """A lock that one thread of one worker can hold. It ends with its process.

        Names share 256 lock files, which are never removed. Removing them safely is harder.
        """
        try:
            file = os.open(self._locks / name[:2], os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:  # read-only: two workers may then encode the same image
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def usage(self) -> tuple[int, int]:
        """The number of files and of bytes."""
        sizes = [size for _, size, path in self._entries() if path.endswith(_SUFFIX)]
        return len(sizes), sum(sizes)

    def _evict(self) -> None:
        """Deletes the least recently used files until the folder is below its limit."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        allowed = self._limit if total <= self._limit else self._limit * _SPARE
        for used, size, path in entries:
            # A time in the future means that the clock was put back.
            is_abandoned = path.endswith(".tmp") and abs(time.time() - used) > _ABANDONED_S
            goes = is_abandoned or (path.endswith(_SUFFIX) and total > allowed)
            if goes:
                Path(path).unlink(missing_ok=True)
                total -= size

    def _entries(self) -> list[tuple[float, int, str]]:
        """Time of last use, bytes and path of each file."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self._folder) as folder:
            for entry in folder:
                with contextlib.suppress(FileNotFoundError):
                    if entry.name.endswith((_SUFFIX, ".tmp")):
                        stat = entry.stat()
                        found.append((stat.st_mtime, stat.st_size, entry.path))
        return found

    def _path(self, name: str) -> Path:
        return self._folder / (name + _SUFFIX)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "embeddings cannot be kept in %s (%s): they stay in memory, and a restart "
                "forgets them",
                self._folder,
                error.strerror,
            )


def _is_ours(name: str) -> bool:
    return name == "locks" or name.endswith((_SUFFIX, ".tmp"))


def _formatted(embedding: Embedding) -> bytes | None:
    """The bytes of an embedding's file. None if half precision cannot hold it."""
    half = embedding.features.astype(np.float16)
    if not np.isfinite(half).all():
        return None
    _, channels, rows, columns = half.shape
    # Channels last, as decoding needs them.
    payload = half[0].transpose(1, 2, 0).tobytes()
    head = (embedding.height, embedding.width, channels, rows, columns)
    return b"".join((_HEAD.pack(_MAGIC, *head, _checksum(head, payload)), payload))


def _parsed(content: bytes) -> Embedding | None:
    if len(content) < _HEAD.size:
        return None
    magic, height, width, channels, rows, columns, checksum = _HEAD.unpack_from(content)
    head, payload = (height, width, channels, rows, columns), memoryview(content)[_HEAD.size :]
    if magic != _MAGIC or len(payload) != 2 * channels * rows * columns:
        return None
    if _checksum(head, payload) != checksum:
        return None
    half = np.frombuffer(payload, np.float16).reshape(1, rows, columns, channels)
    return Embedding(half.astype(np.float32).transpose(0, 3, 1, 2), height, width)


def _checksum(head: tuple[int, ...], payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<5I", *head)))
