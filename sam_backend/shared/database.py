"""Small SQLite files that processes share. Losing their content does no harm."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from sam_backend import private_files

logger = logging.getLogger("sam_backend")

T = TypeVar("T")


class Database:
    """One file with its tables. A file that is damaged or of another version is replaced at start.

    Each use opens the file by its name, so a process that was there before finds the new file.
    """

    def __init__(self, path: Path, schema: str) -> None:
        """OSError or sqlite3.Error if the file cannot be made."""
        self.path = path
        with _alone_in(path.parent):
            self._make(schema)

    def _make(self, schema: str) -> None:
        path = self.path
        if path.exists() and not _is_sound(path, schema):
            logger.warning("%s is damaged or of another version: a new file replaces it", path)
            for file in (path, Path(f"{path}-journal")):
                file.unlink(missing_ok=True)
        # The file may hold tokens. SQLite gives its journal the permissions of the file.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        private_files.close(path)
        with self.opened() as db:  # the pragma is for files of versions that had a WAL
            db.executescript(f"pragma journal_mode = delete; begin immediate; {schema} commit;")

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use: threads may not share one, and opening one takes 0.1 ms."""
        with _connected(f"{self.path.absolute().as_uri()}?mode=rw") as db:
            yield db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.opened() as db:
            db.execute("begin immediate")
            yield db
            db.execute("commit")  # closing without it rolls back


def in_folder(folder: Path, name: str, content: str, opened: Callable[[Path], T]) -> T:
    """What `opened` makes of a file in a folder, or in a temporary one if it cannot be written.

    `content` says in the log what is in the temporary folder then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return opened(folder / name)
    except (OSError, sqlite3.Error):
        path = Path(tempfile.mkdtemp(prefix="sam-backend-")) / name
        logger.warning("%s cannot be written: %s in %s", folder, content, path)
        return opened(path)


def keep_last(db: sqlite3.Connection, table: str, count: int) -> None:
    """Removes all but the last written rows. Replacing a row counts as writing it."""
    db.execute(
        f"delete from {table} where rowid <= "  # noqa: S608 (a name of ours)
        f"(select rowid from {table} order by rowid desc limit 1 offset ?)",
        (count,),
    )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One worker at a time: a second one would replace the file that the first has just made."""
    locked = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(locked, fcntl.LOCK_EX)
        yield
    finally:
        os.close(locked)


def _is_sound(path: Path, schema: str) -> bool:
    """Whether SQLite can read the file, and it has the tables of the schema or none."""
    with _connected(":memory:") as db:
        db.executescript(schema)
        expected = _tables(db)
    try:
        with _connected(f"{path.absolute().as_uri()}?mode=rw") as db:
            check, found = db.execute("pragma quick_check").fetchone()[0], _tables(db)
    except sqlite3.DatabaseError:
        return False
    return check == "ok" and (not found or expected <= found)


@contextmanager
def _connected(uri: str) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)) as db:
            db.execute("pragma synchronous = off")
            # The tables' checks use it. SQLite's own stops at a NUL, however much follows.
            db.create_function("length", 1, _length, deterministic=True)
            yield db
    except UnicodeDecodeError as error:  # sqlite3 quotes a damaged name in its message
        raise sqlite3.DatabaseError(str(error)) from None


def _length(value: str | bytes | None) -> int | None:
    return None if value is None else len(value)


def _tables(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(db.execute("select name, sql from sqlite_master where sql is not null"))
