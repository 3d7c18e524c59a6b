"""What earlier clicks left behind for later ones: rows of the shared state."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import orjson

from sam_backend.clicks.joining import EarlierClick
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.shared.database import keep_last

logger = logging.getLogger("sam_backend")

LAST_CLICKS = 500
KEPT_S = 3600.0
MOST_BYTES = 1 << 16  # a click of 200 prompts has 35 kB

TABLE = f"""
create table if not exists memory (
    project text check (length(project) <= 200), task text check (length(task) <= 200),
    target text check (length(target) <= 2000), seen real,
    value blob check (length(value) <= {MOST_BYTES}), primary key (project, task, target)
);
"""


class EarlierClicks:
    """What earlier clicks on one task left behind; with a connection, within its transaction."""

    def __init__(self, project: str, task: str, db: sqlite3.Connection | None = None) -> None:
        self.project = project
        self.task = task
        self._db = db

    def of(self, target: Target, image: str) -> EarlierClick:
        """The earlier click on one target and image."""
        if self._db is None:
            return EarlierClick()
        row = self._db.execute(
            "select value from memory where project = ? and task = ? and target = ?",
            self._key(target, image),
        ).fetchone()
        return _read(row[0]) if row else EarlierClick()

    def _key(self, target: Target, image: str) -> tuple[str, str, str]:
        return self.project, self.task, orjson.dumps([asdict(target), image]).decode()

    def change(
        self, target: Target, image: str, change: Callable[[EarlierClick], EarlierClick]
    ) -> None:
        """Replaces the earlier click on one target and image."""
        db = self._db
        if db is None:
            change(EarlierClick())
            return
        key = self._key(target, image)
        now = time.time()  # a later time is a clock's that was put back since
        db.execute(
            "delete from memory where seen not between ? and ?",
            (now - KEPT_S, now + KEPT_S),
        )
        after = change(self.of(target, image))
        value = orjson.dumps(asdict(after))
        if len(value) > MOST_BYTES:  # an older click must not stay either
            value = orjson.dumps(asdict(replace(after, prompts=(), draft_version="")))
        try:
            db.execute(
                "insert or replace into memory values (?, ?, ?, ?, ?)", (*key, after.time, value)
            )
        except sqlite3.IntegrityError as error:  # a name in it is too long
            logger.debug("not kept: %s", error)
        keep_last(db, "memory", LAST_CLICKS)


def _read(value: bytes) -> EarlierClick:
    try:
        fields = orjson.loads(value)
        return EarlierClick(
            prompts=tuple(Prompt(**prompt) for prompt in fields["prompts"]),
            draft_version=fields["draft_version"],
            time=fields["time"],
            trust=fields["trust"],
            sends_rectangles=bool(fields["sends_rectangles"]),
        )
    except (ValueError, KeyError, TypeError):  # written by another version
        return EarlierClick()


def change_all(
    db: sqlite3.Connection, task: str, change: Callable[[EarlierClick], EarlierClick]
) -> None:
    """Changes the earlier clicks of all targets of a task."""
    rows = db.execute("select rowid, value from memory where task = ?", (task,)).fetchall()
    for row, value in rows:
        changed = orjson.dumps(asdict(change(_read(value))))
        db.execute("update memory set value = ? where rowid = ?", (changed, row))
