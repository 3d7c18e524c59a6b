"""The content of each image address when it was last read, so that a warm click fetches nothing."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cachetools import LRUCache

from sam_backend import private_files
from sam_backend.shared import kept_answers
from sam_backend.shared.database import Database

logger = logging.getLogger("sam_backend")

_MOST = 200_000  # addresses; some 30 MB
_LONGEST_VALIDATOR = 200  # characters; servers choose them
_SCHEMA = """
create table if not exists source (
    key text primary key, content text not null, validator text, checked real not null
);
"""


@dataclass(frozen=True)
class Known:
    """The content of an address: its SHA-256, and the validator for a conditional request."""

    content: str
    validator: str | None
    checked: float  # when, in seconds since the epoch

    def was_checked_within(self, seconds: float) -> bool:
        """Whether the last check was a moment ago. In the future: the clock was put back."""
        return 0 <= time.time() - self.checked <= seconds


class ContentIndex:
    """A small table in the cache folder, with recent addresses in memory.

    If the folder cannot be written, only memory is used.
    """

    def __init__(self, path: Path | None) -> None:
        self._known: LRUCache[str, Known] = LRUCache(maxsize=10_000)
        self._lock = threading.Lock()
        self._database: Database | None = None
        if path is not None:
            try:
                private_files.folder(path.parent, partial(_is_ours, path.stem))
                self._database = Database(path, _SCHEMA)
            except (OSError, sqlite3.Error) as error:  # the embedding store warns of it
                logger.debug("%s: %s", path, error)

    def get(self, source_key: str) -> Known | None:
        key = _hash(source_key)
        with self._lock:
            known = self._known.get(key)
        if known is None and self._database is not None:
            known = self._read(self._database, key)
            if known is not None:
                with self._lock:
                    self._known[key] = known
        return known

    def put(self, source_key: str, content: str, validator: str | None) -> None:
        if len(validator or "") > _LONGEST_VALIDATOR:
            validator = None
        key, known = _hash(source_key), Known(content, validator, time.time())
        with self._lock:
            self._known[key] = known
        if self._database is None:
            return
        try:
            with self._database.opened() as db:
                db.execute(
                    "insert or replace into source values (?, ?, ?, ?)",
                    (key, known.content, known.validator, known.checked),
                )
                db.execute(
                    "delete from source where rowid <= (select max(rowid) from source) - ?",
                    (_MOST,),
                )
        except (OSError, sqlite3.Error) as error:  # after a restart, the image is read once more
            logger.debug("%s: %s", self._database.path, error)

    def _read(self, database: Database, key: str) -> Known | None:
        try:
            with database.opened() as db:
                row = db.execute(
                    "select content, validator, checked from source where key = ?", (key,)
                ).fetchone()
        except (OSError, sqlite3.Error) as error:
            logger.debug("%s: %s", database.path, error)
            return None
        return Known(*row) if row and isinstance(row[2], float) else None


def _is_ours(stem: str, name: str) -> bool:
    """The files of the table, and the embeddings and the last answers beside it."""
    return name in ("embeddings", kept_answers.FILE) or name.startswith(f"{stem}.")


def _hash(source_key: str) -> str:
    # Addresses may contain signatures, and inline images have megabytes. Neither is stored.
    return hashlib.sha256(source_key.encode(errors="surrogatepass")).hexdigest()
