"""Opens the small SQLite files that processes share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one use: they may not travel between threads, and one costs 0.1 ms."""
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as db:
        db.execute("pragma synchronous = off")  # all that these files hold may be lost
        yield db
