"""Which content an image's address had when it was last read: a warm click fetches nothing."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from sam_backend.database import opened

logger = logging.getLogger("sam_backend")

_MOST = 200_000  # addresses; some 30 MB
_SCHEMA = """
create table if not exists source (
    key text primary key, content text not null, validator text, checked real not null
);
"""


@dataclass(frozen=True)
class Known:
    """The content behind an address: its SHA-256, and what a server needs to say "unchanged"."""

    content: str
    validator: str | None
    checked: float  # when, in seconds since the epoch


class ContentIndex:
    """A small table in the cache folder, with the addresses in use in memory.

    Where the folder cannot be written, memory is all there is.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: LRUCache[str, Known] = LRUCache(maxsize=10_000)
        self._lock = threading.Lock()
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened(path) as db:
                    db.executescript("pragma journal_mode = wal;" + _SCHEMA)
            except (OSError, sqlite3.Error) as error:
                logger.debug("%s: %s", path, error)
                self._path = None

    def get(self, source_key: str) -> Known | None:
        key = _hash(source_key)
        with self._lock:
            known = self._known.get(key)
        if known is None and self._path is not None:
            known = self._read(self._path, key)
            if known is not None:
                with self._lock:
                    self._known[key] = known
        return known

    def put(self, source_key: str, content: str, validator: str | None) -> None:
        key, known = _hash(source_key), Known(content, validator, time.time())
        with self._lock:
            self._known[key] = known
        if self._path is None:
            return
        try:
            with opened(self._path) as db:
                db.execute(
                    "insert or replace into source values (?, ?, ?, ?)",
                    (key, known.content, known.validator, known.checked),
                )
                db.execute(
                    "delete from source where rowid <= (select max(rowid) from source) - ?",
                    (_MOST,),
                )
        except sqlite3.Error as error:  # the address is then read once more after a restart
            logger.debug("%s: %s", self._path, error)

    def _read(self, path: Path, key: str) -> Known | None:
        try:
            with opened(path) as db:
                row = db.execute(
                    "select content, validator, checked from source where key = ?", (key,)
                ).fetchone()
        except sqlite3.Error as error:
            logger.debug("%s: %s", path, error)
            return None
        return Known(*row) if row else None


def _hash(source_key: str) -> str:
    # Addresses may carry signatures and inline images megabytes: neither is to be kept.
    return hashlib.sha256(source_key.encode(errors="surrogatepass")).hexdigest()
