"""Embeddings on disk: bounded, shared by all workers of a machine, kept across restarts.

A file that is cut off, changed or of another format is a miss and is deleted. Nothing in a file is
ever executed.

It is written by hand. diskcache has had no release since 2023 and unpickles what it reads, so a
file in the folder could run code.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sam_backend import private_files
from sam_backend.embeddings.packed import packed, unpacked
from sam_backend.engines.protocol import Embedding

logger = logging.getLogger("sam_backend")

_SUFFIX = ".embedding"
# A temporary file that is older than this was left by a writer that was killed.
_ABANDONED_S = 600.0
_SPARE = 0.9  # an eviction makes room for several files, so that it is not needed for each write
# What a worker writes before it looks again at all files: a part of the room that was left, because
# other workers fill it too, or at least this part of the limit.
_UNSEEN, _LEAST_UNSEEN = 0.25, 0.005


class EmbeddingStore:
    """Reads and writes one folder. If that fails, embeddings stay in memory only."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._locks = folder / "locks"
        self._limit = limit_bytes
        self._warned = False
        # Bytes that this worker may write until it looks at the folder again, and that it wrote.
        self._room, self._written = 0.0, 0
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
        embedding = unpacked(content)
        with contextlib.suppress(OSError):  # another worker may have evicted it
            if embedding is None:
                path.unlink()
            else:
                os.utime(path)  # eviction goes by the time of last use
        return embedding

    def put(self, name: str, embedding: Embedding) -> None:
        """Writes an embedding. After a crash, the file is complete or absent."""
        content = packed(embedding)
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
            self._written += len(content)
            if self._written > self._room:  # looking takes longer the more files there are
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
        room = (self._limit - total) * _UNSEEN
        self._room, self._written = max(room, self._limit * _LEAST_UNSEEN), 0

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
