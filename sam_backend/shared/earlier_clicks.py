"""What earlier clicks left behind for later ones: rows of the shared state."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from types import UnionType
from typing import Any, TypeVar

import orjson

from sam_backend.clicks.joining import EarlierClick
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.shared.database import keep_last
from sam_backend.shared.tasks_of_machines import TaskOfMachines

logger = logging.getLogger("sam_backend")

T = TypeVar("T")

LAST_CLICKS = 500
KEPT_S = 3600.0
MOST_BYTES = 1 << 16  # a click of 200 prompts has 35 kB

TABLE = f"""
create table if not exists memory (
    project text check (length(project) <= 200), task text check (length(task) <= 200),
    target text check (length(target) <= 2000), clicked_at real,
    value blob check (length(value) <= {MOST_BYTES}), primary key (project, task, target)
);
"""


class EarlierClicks:
    """What earlier clicks on one task left behind. With a connection: within its transaction.

    Of two clicks that this machine and the others know, the later one counts.
    """

    def __init__(
        self,
        project: str,
        task: str,
        db: sqlite3.Connection | None = None,
        machines: TaskOfMachines | None = None,
    ) -> None:
        self.project = project
        self.task = task
        self._db = db
        self._machines = machines

    def of(self, target: Target, image: str) -> EarlierClick:
        """The earlier click on one target and image."""
        key = self._key(target, image)
        known = [EarlierClick()]
        if self._db is not None:
            row = self._db.execute(
                "select value from memory where project = ? and task = ? and target = ?", key
            ).fetchone()
            known += [read(row[0])] if row else []
        if self._machines is not None:
            value = self._machines.clicks.get(_name(key))
            theirs = read(value) if value else EarlierClick()
            # Later than that is the time of a wrong clock, and would count for ever.
            known += [theirs] if theirs.time < time.time() + KEPT_S else []
        return max(reversed(known), key=lambda click: click.time)

    def _key(self, target: Target, image: str) -> tuple[str, str, str]:
        return self.project, self.task, orjson.dumps([target, image]).decode()

    def change(
        self, target: Target, image: str, change: Callable[[EarlierClick], EarlierClick]
    ) -> None:
        """Replaces the earlier click on one target and image."""
        key = self._key(target, image)
        after = change(self.of(target, image))
        value = written(after)
        if len(value) > MOST_BYTES:  # an older click must not stay either
            value = written(replace(after, prompts=(), draft_version=""))
        if self._machines is not None:
            self._machines.new[_name(key)] = value
        if self._db is not None:
            _keep(self._db, key, after.time, value)


def _name(key: tuple[str, str, str]) -> bytes:
    """A short name of a click's project, task and target."""
    return hashlib.sha256(orjson.dumps(key)).digest()


def _keep(db: sqlite3.Connection, key: tuple[str, str, str], when: float, value: bytes) -> None:
    now = time.time()  # a later time is a clock's that was put back since
    db.execute(
        "delete from memory where clicked_at not between ? and ?", (now - KEPT_S, now + KEPT_S)
    )
    try:
        db.execute("insert or replace into memory values (?, ?, ?, ?, ?)", (*key, when, value))
    except sqlite3.IntegrityError as error:  # a name in it is too long
        logger.debug("not kept: %s", error)
    keep_last(db, "memory", LAST_CLICKS)


def written(click: EarlierClick) -> bytes:
    """A click as bytes, for `read`."""
    return orjson.dumps(click)


def read(value: bytes) -> EarlierClick:
    """A click from its bytes. If another version wrote them, it has no prompts."""
    try:
        fields = orjson.loads(value)
        return EarlierClick(
            prompts=tuple(_prompt(each) for each in fields["prompts"]),
            draft_version=_checked(fields["draft_version"], str),
            time=_checked(fields["time"], int | float),
            trust=_checked(fields["trust"], int),
            sends_rectangles=bool(fields["sends_rectangles"]),
        )
    except (ValueError, KeyError, TypeError):
        return EarlierClick()


def _prompt(fields: dict[str, Any]) -> Prompt:
    made = Prompt(**fields)
    for text in (made.id, made.control):
        _checked(text, str)
    for number in (made.x, made.y, made.width, made.height, made.angle):
        _checked(number, int | float)
    return made


def _checked(value: T, kind: type | UnionType) -> T:
    if not isinstance(value, kind):
        raise TypeError
    return value


def change_all(
    db: sqlite3.Connection, task: str, change: Callable[[EarlierClick], EarlierClick]
) -> None:
    """Changes the earlier clicks of all targets of a task."""
    rows = db.execute("select rowid, value from memory where task = ?", (task,)).fetchall()
    for row, value in rows:
        changed = written(change(read(value)))
        db.execute("update memory set value = ? where rowid = ?", (changed, row))
