"""The shapes of the masks that annotators kept, by project and label: a small SQLite file.

Two numbers of each mask, and no other part of an annotation. All workers share it, and it survives
a restart. It may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from cachetools import LRUCache

from sam_backend.clicks.kept_masks import KeptMask
from sam_backend.clicks.learnt_shapes import LEAST, MOST, Learnt
from sam_backend.shared.database import Database, in_folder

logger = logging.getLogger("sam_backend")

P = ParamSpec("P")
R = TypeVar("R")

# Rows of all projects together, of about 100 bytes. The oldest ones go.
MOST_ROWS = 50_000
SETTLED_NS = 2_000_000_000
MOST_ANSWERS = 256  # in memory; each is a few numbers
# A row with a longer value is not kept. Requests choose these texts.
_SCHEMA = """
create table if not exists kept (
    project text check (length(project) <= 200), label text check (length(label) <= 2000),
    annotation text check (length(annotation) <= 50), region text check (length(region) <= 200),
    figures blob check (length(figures) <= 100),
    primary key (project, label, annotation, region)
);
"""


@dataclass(frozen=True)
class Knowledge:
    """How many masks of a label a project has kept, and whether they are enough to be used."""

    project: str
    label: str
    count: int
    is_used: bool


def _if_possible(
    method: Callable[Concatenate[KeptShapes, P], R],
) -> Callable[Concatenate[KeptShapes, P], R | None]:
    """A file that cannot be used must not cost anyone a mask."""

    @wraps(method)
    def attempt(kept: KeptShapes, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(kept, *args, **kwargs)
        except (OSError, sqlite3.Error, ValueError) as error:
            logger.debug("%s: %s", kept.path, error)
            return None

    return attempt


class KeptShapes:
    """Reads and writes the file. Each call is one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, _SCHEMA)
        # What clicks asked for since the file changed, by a hash of the project and label.
        self._answers: LRUCache[bytes, Learnt | None] = LRUCache(MOST_ANSWERS)
        self._answers_for: tuple[int, int] | None = None
        self._lock = Lock()

    @classmethod
    def in_folder(cls, folder: Path) -> KeptShapes:
        """The file in a folder, or in a temporary one where that cannot be written."""
        return in_folder(folder, "shapes.sqlite3", "shapes of kept masks are", cls)

    @_if_possible
    def put(self, project: str, annotation: str, masks: Sequence[KeptMask]) -> None:
        """Replaces all masks of an annotation."""
        with self._database.transaction() as db:
            rows = db.execute(
                "select label, region from kept where project = ? and annotation = ?",
                (project, annotation),
            ).fetchall()
            gone = set(rows) - {(mask.label, mask.region) for mask in masks}
            db.executemany(
                "delete from kept where project = ? and annotation = ? "
                "and label = ? and region = ?",
                [(project, annotation, *row) for row in gone],
            )
            for mask in masks:
                _put(db, project, annotation, mask)
            db.execute(
                "delete from kept where rowid <= "
                "(select rowid from kept order by rowid desc limit 1 offset ?)",
                (MOST_ROWS,),
            )

    @_if_possible
    def learnt(self, project: str, label: str) -> Learnt | None:
        """What a label's masks have in common. None while they are too few.

        The file is read again only after a change, because most clicks come without one. Two
        changes can have the same time, so a file that has just changed is always read.
        """
        status = self.path.stat()
        version, key = (status.st_mtime_ns, status.st_ino), _hash(project, label)
        if time.time_ns() - status.st_mtime_ns < SETTLED_NS:
            return self._read(project, label)
        with self._lock:
            if version != self._answers_for:
                self._answers.clear()
                self._answers_for = version
            if key in self._answers:
                return self._answers[key]
        found = self._read(project, label)
        with self._lock:
            if version == self._answers_for:
                self._answers[key] = found
        return found

    def _read(self, project: str, label: str) -> Learnt | None:
        with self._database.opened() as db:
            rows = db.execute(
                "select figures from kept where project = ? and label = ? order by rowid limit ?",
                (project, label, MOST),
            ).fetchall()
        return Learnt.of([np.frombuffer(figures, np.float64) for (figures,) in rows])

    @_if_possible
    def forget_annotations(self, project: str, annotations: Sequence[str]) -> None:
        """Forgets annotations that were deleted in Label Studio."""
        with self._database.transaction() as db:
            db.executemany(
                "delete from kept where project = ? and annotation = ?",
                [(project, annotation) for annotation in annotations],
            )

    @_if_possible
    def forget_project(self, project: str) -> None:
        """Forgets a project that was deleted, or whose masks must not be used."""
        with self._database.transaction() as db:
            db.execute("delete from kept where project = ?", (project,))

    @_if_possible
    def forget_projects_of(self, number: str) -> None:
        """Forgets all projects with this number, whenever they were created."""
        with self._database.transaction() as db:
            db.execute(
                "delete from kept where substr(project, 1, length(?1) + 1) = ?1 || '.'", (number,)
            )

    @_if_possible
    def known(self) -> list[Knowledge]:
        """What is kept, the projects and labels with most masks first."""
        with self._database.opened() as db:
            rows = db.execute(
                "select project, label, count(*) from kept group by project, label "
                "order by count(*) desc, project, label limit 50"
            ).fetchall()
        return [Knowledge(project, label, count, count >= LEAST) for project, label, count in rows]


def _hash(project: str, label: str) -> bytes:
    """A hash of fixed length, for names of any length."""
    return hashlib.sha256(repr((project, label)).encode()).digest()


def _put(db: sqlite3.Connection, project: str, annotation: str, mask: KeptMask) -> None:
    """A mask in the row that it had, or in a new one while its label has not enough."""
    db.execute(
        "insert into kept select ?1, ?2, ?3, ?4, ?5 where exists (select 1 from kept where "
        "project = ?1 and label = ?2 and annotation = ?3 and region = ?4) or ?6 > "
        "(select count(*) from kept where project = ?1 and label = ?2) "
        "on conflict do update set figures = excluded.figures",
        (project, mask.label, annotation, mask.region, mask.figures.tobytes(), MOST),
    )
