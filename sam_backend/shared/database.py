"""Small SQLite files that processes share. All that they hold may be lost without harm."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sam_backend import private_files

logger = logging.getLogger("sam_backend")


class Database:
    """One file with its tables. Found damaged, or with other tables, it is begun anew.

    Never while a process has it open: on closing, SQLite removes files by their names, and they
    would be those of the new one. So who uses it shares a lock, and who replaces it has it alone.
    """

    def __init__(self, path: Path, schema: str) -> None:
        """OSError or sqlite3.Error, where there can be no such file."""
        self.path = path
        self._schema = schema
        with self._locked(fcntl.LOCK_EX):
            why = "its tables are of another version, or damaged"
            try:
                self._begin()
            except sqlite3.DatabaseError as error:
                if not _is_damage(error) and not self._is_sound():
                    raise
                why = str(error)
            if not self._is_sound():
                self._begin_anew(why)

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use: they may not travel between threads, and one costs 0.1 ms."""
        with self._mended(), self._locked(fcntl.LOCK_SH), _connected(self.path) as db:
            yield db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.opened() as db:
            db.execute("begin immediate")
            yield db
            db.execute("commit")  # closing without it rolls back

    @contextmanager
    def _mended(self) -> Iterator[None]:
        """What fails within because of damage fails this once: the next one finds a new file."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                with self._locked(fcntl.LOCK_EX):
                    if not self._is_sound():  # no other process was first
                        self._begin_anew(str(error))
            raise

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        lock = os.open(self.path.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(lock, how)
            yield
        finally:
            os.close(lock)

    def _begin(self) -> None:
        # It holds tokens, say. SQLite gives the rights of the file to those that it makes beside.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        beside = [Path(f"{self.path}{suffix}") for suffix in ("-wal", "-shm")]
        all(map(private_files.close, (self.path, *beside, self.path.with_suffix(".lock"))))
        with _connected(self.path) as db:
            db.executescript("pragma journal_mode = wal;" + self._schema)

    def _begin_anew(self, why: str) -> None:
        logger.warning("%s is begun anew: %s", self.path, why)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._begin()

    def _is_sound(self) -> bool:
        try:
            with _connected(self.path) as db:
                found, check = _tables(db), db.execute("pragma quick_check").fetchone()[0]
        except sqlite3.DatabaseError:
            return False
        with _connected(":memory:") as db:
            db.executescript(self._schema)
            return bool(check == "ok" and _tables(db) <= found)


@contextmanager
def _connected(path: Path | str) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as db:
            db.execute("pragma synchronous = off")
            yield db
    except UnicodeDecodeError as error:  # in a name, say, which sqlite3 wanted to complain about
        raise sqlite3.DatabaseError(str(error)) from None


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """An operational error is a matter of locks and disks, unless a table or column is gone.

    An integrity error says that a value is too long for its column.
    """
    if isinstance(error, sqlite3.IntegrityError):
        return False
    return not isinstance(error, sqlite3.OperationalError) or "no such" in str(error)


def _tables(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(db.execute("select name, sql from sqlite_master where sql is not null"))
