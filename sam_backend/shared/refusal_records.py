"""The last refusals, for the status page of every worker: rows of the shared state."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from sam_backend.shared.database import keep_last

LAST_REFUSALS = 50

TABLE = """
create table if not exists refusals (
    time real, place text check (length(place) <= 2000), cause text check (length(cause) <= 200),
    message text check (length(message) <= 8000)
);
"""


@dataclass(frozen=True)
class RefusalRecord:
    """One refusal, for the status page."""

    time: float
    where: str
    cause: str
    message: str


def add(db: sqlite3.Connection, refusals: Sequence[RefusalRecord]) -> None:
    """Keeps the last ones. A repeated refusal is one row, with its last time."""
    for refusal in refusals[-LAST_REFUSALS:]:
        db.execute(
            "delete from refusals where place = ? and message = ?", (refusal.where, refusal.message)
        )
        db.execute(
            "insert into refusals values (?, ?, ?, ?)",
            (refusal.time, refusal.where, refusal.cause, refusal.message),
        )
    keep_last(db, "refusals", LAST_REFUSALS)


def newest_first(db: sqlite3.Connection) -> list[RefusalRecord]:
    rows = db.execute(
        "select time, place, cause, message from refusals order by rowid desc"
    ).fetchall()
    return [RefusalRecord(*row) for row in rows]
