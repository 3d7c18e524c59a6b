"""The ids that programs get for images and answers: they work in every worker.

An id says which content an image had, and which prompt an answer had. The embedding is found by
that content, and the mask follows from that prompt.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from sam_backend.shared.database import Database

KEPT_S = 86_400  # after the last use of an image, and after an answer was made
MOST_IMAGES = 20_000
MOST_ANSWERS = 50_000
LONGEST_ANSWER = 20_000  # bytes: 200 points have 8 kB

_REFRESH_S = 60.0  # a use that follows another one this soon is not written
_SCHEMA = f"""
create table if not exists image (
    id text primary key, content text not null, used_at real not null
);
create table if not exists answer (
    id text primary key, image text not null, made_at real not null,
    value blob not null check (length(value) <= {LONGEST_ANSWER})
);
create index if not exists answer_image on answer (image);
create index if not exists image_used_at on image (used_at);
create index if not exists answer_made_at on answer (made_at);
"""


@dataclass(frozen=True)
class KnownAnswer:
    """The id of an answer's image, and what the answer follows from."""

    image_id: str
    value: bytes


class ProgramIds:
    """A small file beside that of the other shared state."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)

    def add_image(self, content: str, id_: str | None = None) -> str:
        """An id for the image with this SHA-256: one that nobody can guess, or a given one."""
        id_ = id_ or secrets.token_urlsafe(16)
        with self._database.transaction() as db:
            db.execute("insert or replace into image values (?, ?, ?)", (id_, content, time.time()))
            _drop_old(db, "image", "used_at", MOST_IMAGES)
        return id_

    def content(self, image_id: str) -> str | None:
        """The SHA-256 of an image."""
        now = time.time()
        with self._database.opened() as db:
            query = "select content, used_at from image where id = ?"
            row = db.execute(query, (image_id,)).fetchone()
            if row is None or not -KEPT_S < now - row[1] < KEPT_S:
                return None
            if abs(now - row[1]) > _REFRESH_S:
                db.execute("update image set used_at = ? where id = ?", (now, image_id))
        return str(row[0])

    def remove_image(self, image_id: str) -> str | None:
        """Forgets an image and its answers. Its SHA-256, if no other id stands for it."""
        with self._database.transaction() as db:
            query = "select content from image where id = ?"
            row = db.execute(query, (image_id,)).fetchone()
            db.execute("delete from image where id = ?", (image_id,))
            db.execute("delete from answer where image = ?", (image_id,))
            if row is None:
                return None
            others = db.execute("select 1 from image where content = ?", row).fetchone()
        return None if others else str(row[0])

    def add_answers(self, image_id: str, values: list[bytes]) -> list[str]:
        """New ids for answers about an image."""
        ids, now = [secrets.token_urlsafe(16) for _ in values], time.time()
        rows = [(id_, image_id, now, value) for id_, value in zip(ids, values, strict=True)]
        with self._database.transaction() as db:
            db.executemany("insert into answer values (?, ?, ?, ?)", rows)
            _drop_old(db, "answer", "made_at", MOST_ANSWERS)
        return ids

    def answer(self, answer_id: str) -> KnownAnswer | None:
        """What an answer follows from."""
        with self._database.opened() as db:
            query = "select image, value from answer where id = ?"
            row = db.execute(query, (answer_id,)).fetchone()
        return KnownAnswer(*row) if row else None


def _drop_old(db: sqlite3.Connection, table: str, time_column: str, most: int) -> None:
    """Removes the rows whose time is long ago, and the oldest of too many."""
    now = time.time()  # a later time is a clock's that was put back since
    db.execute(
        f"delete from {table} where {time_column} < ? or {time_column} > ?",  # noqa: S608 (our names)
        (now - KEPT_S, now + KEPT_S),
    )
    db.execute(
        f"delete from {table} where rowid <= (select max(rowid) from {table}) - ?",  # noqa: S608
        (most,),
    )
