"""Small SQLite files that processes share. All that they hold may be lost without harm."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

logger = logging.getLogger("sam_backend")


class Database:
    """One file with its tables. Found damaged, or of another version, it is begun anew."""

    def __init__(self, path: Path, version: int, schema: str) -> None:
        """OSError or sqlite3.Error, where there can be no such file."""
        self.path = path
        self._version = version
        self._schema = schema
        try:
            self._begin()
        except sqlite3.OperationalError:
            raise  # the folder's fault, or the disk's
        except sqlite3.DatabaseError as error:
            self._replace(error)

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use: they may not travel between threads, and one costs 0.1 ms."""
        try:
            with closing(self._connect()) as db:
                yield db
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._replace(error)
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.opened() as db:
            db.execute("begin immediate")
            yield db
            db.execute("commit")  # closing without it rolls back

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=5, isolation_level=None)
        try:
            db.execute("pragma synchronous = off")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _begin(self) -> None:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # tokens, say
        with closing(self._connect()) as db:
            found = db.execute("pragma user_version").fetchone()[0]
            if found not in (0, self._version):
                raise sqlite3.DatabaseError(f"it is of version {found}, not {self._version}")
            db.executescript(
                f"pragma journal_mode = wal; pragma user_version = {self._version};{self._schema}"
            )

    def _replace(self, error: sqlite3.Error) -> None:
        """Begins the file anew, unless another process just did."""
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_sound():
                logger.warning("%s is begun anew: %s", self.path, error)
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                self._begin()
        finally:
            os.close(lock)

    def _is_sound(self) -> bool:
        try:
            with closing(self._connect()) as db:
                version = db.execute("pragma user_version").fetchone()[0]
                check = db.execute("pragma quick_check").fetchone()[0]
        except sqlite3.Error:
            return False
        return bool(version == self._version and check == "ok")
