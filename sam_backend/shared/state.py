"""The state that the workers of one server share: a small SQLite file in the model folder.

It holds recent prompts, the address of each project's Label Studio, and the last refusals. Losing
it does no harm.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson

from sam_backend.clicks.joining import Memory
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.shared.database import Database, in_folder

logger = logging.getLogger("sam_backend")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# Rows to keep in each table. Clients decide how many are added.
LAST_MEMORIES = 500
LAST_SETUPS = 1_000
LAST_REFUSALS = 50
MEMORY_S = 3600.0
MEMORY_BYTES = 1 << 16  # a memory of 200 prompts has 35 kB
EXTRA_BYTES = 4_000

# A row with a longer value is not kept: most of these texts come from requests.
_SCHEMA = f"""
create table if not exists memory (
    project text check (length(project) <= 200), task text check (length(task) <= 200),
    target text check (length(target) <= 2000), seen real,
    value blob check (length(value) <= {MEMORY_BYTES}), primary key (project, task, target)
);
create table if not exists setups (
    project text primary key check (length(project) <= 200), url text check (length(url) <= 2000),
    token text check (length(token) <= 4000), extra blob check (length(extra) <= {EXTRA_BYTES})
);
create table if not exists believed (
    one integer primary key check (one = 1), url text check (length(url) <= 2000)
);
create table if not exists refusals (
    time real, place text check (length(place) <= 2000), cause text check (length(cause) <= 200),
    message text check (length(message) <= 8000)
);
"""


@dataclass(frozen=True)
class Connection:
    """The address of a Label Studio and a token for it, from a `/setup` request."""

    url: str
    token: str | None


@dataclass(frozen=True)
class Project:
    """A project of Label Studio's, and the content of its last `/setup` request."""

    id: str
    from_setup: Connection | None = None
    extra_params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RefusalRecord:
    """One refusal, for the status page."""

    time: float
    where: str
    cause: str
    message: str


def _if_possible(
    method: Callable[Concatenate[State, P], R],
) -> Callable[Concatenate[State, P], R | None]:
    """Returns None instead of an error: a full disk, for example, must not cost a mask."""

    @wraps(method)
    def attempt(state: State, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(state, *args, **kwargs)
        except sqlite3.IntegrityError as error:
            logger.debug("not kept: %s", error)
            return None
        except (OSError, sqlite3.Error, orjson.JSONDecodeError) as error:
            state.warn(error)
            return None

    return attempt


class State:
    """Reads and writes the shared file; each call is one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, _SCHEMA)
        self._warned = False

    def warn(self, error: Exception) -> None:
        """Warns once, because the same problem would repeat with every request."""
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        logger.log(
            level,
            "%s cannot be used (%s): prompts are joined and errors shown within one request only. "
            "If the file is damaged, a restart replaces it",
            self.path,
            error,
        )

    @classmethod
    def in_folder(cls, folder: Path) -> State:
        """The state in a folder, or in a temporary folder if that cannot be written."""
        return in_folder(folder, "state.sqlite3", "workers share their state", cls)

    def click(self, project: str, task: str, plan: Callable[[Project, Memories], T]) -> T:
        """What `plan` makes of a project and of a task's memories, with one look at the file.

        If the file cannot be used, there are no memories. A file that can only be read, as on a
        full disk, still tells of the project.
        """
        known = [Project(project)]
        planned = self._click(project, task, plan, known)
        return planned[0] if planned else plan(known[-1], Memories(project, task))

    @_if_possible
    def _click(
        self,
        project: str,
        task: str,
        plan: Callable[[Project, Memories], T],
        known: list[Project],
    ) -> tuple[T]:
        with self._database.opened() as db:
            known.append(_project(db, project))
            db.execute("begin immediate")
            planned = plan(known[-1], Memories(project, task, db))
            db.execute("commit")  # closing without it rolls back
        return (planned,)

    def project(self, project: str) -> Project:
        """A project, and the content of its last `/setup` request."""
        return self._project(project) or Project(project)

    @_if_possible
    def _project(self, project: str) -> Project:
        with self._database.opened() as db:
            return _project(db, project)

    @_if_possible
    def numbered(self, number: int | None) -> Project | None:
        """The project of this number, or the one that `/setup` told of last.

        `/setup` calls a project by its number and the time when it was made.
        """
        with self._database.opened() as db:
            row = db.execute(
                "select project from setups where url != '' and (project like ? or project = ?) "
                "order by rowid desc limit 1",
                ("%", "") if number is None else (f"{number}.%", str(number)),
            ).fetchone()
            return _project(db, str(row[0])) if row else None

    @_if_possible
    def change_memories(self, task: str, change: Callable[[Memory], Memory]) -> None:
        """Changes the memories of all targets of a task."""
        with self._database.transaction() as db:
            rows = db.execute("select rowid, value from memory where task = ?", (task,)).fetchall()
            for row, value in rows:
                changed = orjson.dumps(asdict(change(_memory(value))))
                db.execute("update memory set value = ? where rowid = ?", (changed, row))

    @_if_possible
    def remember_setup(
        self, project: str, connection: Connection | None, extra_params: Mapping[str, Any]
    ) -> None:
        """Keeps the content of a `/setup` request, which predictions do not repeat.

        Without a connection, the earlier one stays.
        """
        extra = orjson.dumps(extra_params)
        if len(extra) > EXTRA_BYTES:
            logger.warning(
                "the model's extra params are left out: %d bytes are too many", len(extra)
            )
            extra = b"{}"
        with self._database.transaction() as db:
            if connection:
                url, token = connection.url, connection.token
            else:
                known = db.execute("select url, token from setups where project = ?", (project,))
                url, token = known.fetchone() or ("", None)
            db.execute(
                "insert or replace into setups values (?, ?, ?, ?)", (project, url, token, extra)
            )
            _keep_last(db, "setups", LAST_SETUPS)

    @_if_possible
    def believe(self, url: str) -> str:
        """Keeps the Label Studio that proved its identity. Returns the first one that did."""
        with self._database.transaction() as db:
            db.execute("insert into believed values (1, ?) on conflict do nothing", (url,))
            return str(db.execute("select url from believed").fetchone()[0])

    @_if_possible
    def believed(self) -> str | None:
        """The Label Studio that proved its identity, if any."""
        with self._database.opened() as db:
            row = db.execute("select url from believed").fetchone()
        return str(row[0]) if row else None

    @_if_possible
    def add_refusal(self, refusal: RefusalRecord) -> None:
        with self._database.transaction() as db:
            db.execute(  # a repeated refusal is one line, with its last time
                "delete from refusals where place = ? and message = ?",
                (refusal.where, refusal.message),
            )
            db.execute(
                "insert into refusals values (?, ?, ?, ?)",
                (refusal.time, refusal.where, refusal.cause, refusal.message),
            )
            _keep_last(db, "refusals", LAST_REFUSALS)

    @_if_possible
    def refusals(self) -> list[RefusalRecord]:
        """The last refusals, newest first."""
        with self._database.opened() as db:
            rows = db.execute(
                "select time, place, cause, message from refusals order by rowid desc"
            ).fetchall()
        return [RefusalRecord(*row) for row in rows]


class Memories:
    """What earlier clicks on one task left behind; with a connection, within its transaction."""

    def __init__(self, project: str, task: str, db: sqlite3.Connection | None = None) -> None:
        self.project = project
        self.task = task
        self._db = db

    def of(self, target: Target, image: str) -> Memory:
        """The memory of one target and image."""
        if self._db is None:
            return Memory()
        row = self._db.execute(
            "select value from memory where project = ? and task = ? and target = ?",
            self._key(target, image),
        ).fetchone()
        return _memory(row[0]) if row else Memory()

    def _key(self, target: Target, image: str) -> tuple[str, str, str]:
        return self.project, self.task, orjson.dumps([asdict(target), image]).decode()

    def change(self, target: Target, image: str, change: Callable[[Memory], Memory]) -> None:
        """Replaces the memory of one target and image."""
        db = self._db
        if db is None:
            change(Memory())
            return
        key = self._key(target, image)
        now = time.time()  # a later time is a clock's that was put back since
        db.execute(
            "delete from memory where seen not between ? and ?",
            (now - MEMORY_S, now + MEMORY_S),
        )
        memory = change(self.of(target, image))
        value = orjson.dumps(asdict(memory))
        if len(value) > MEMORY_BYTES:  # an older memory must not stay either
            value = orjson.dumps(asdict(replace(memory, prompts=(), draft="")))
        try:
            db.execute(
                "insert or replace into memory values (?, ?, ?, ?, ?)", (*key, memory.seen, value)
            )
        except sqlite3.IntegrityError as error:  # a name in it is too long
            logger.debug("not kept: %s", error)
        _keep_last(db, "memory", LAST_MEMORIES)


def _project(db: sqlite3.Connection, project: str) -> Project:
    row = db.execute(
        "select url, token, extra from setups where project = ?", (project,)
    ).fetchone()
    if row is None:
        return Project(project)
    url, token, extra = row
    params = orjson.loads(extra)
    from_setup = Connection(url, token) if url else None
    return Project(project, from_setup, params if isinstance(params, dict) else {})


def _keep_last(db: sqlite3.Connection, table: str, count: int) -> None:
    """Removes all but the last written rows. Replacing a row counts as writing it."""
    db.execute(
        f"delete from {table} where rowid <= "  # noqa: S608 (a name of ours)
        f"(select rowid from {table} order by rowid desc limit 1 offset ?)",
        (count,),
    )


def _memory(value: bytes) -> Memory:
    try:
        fields = orjson.loads(value)
        return Memory(
            prompts=tuple(Prompt(**prompt) for prompt in fields["prompts"]),
            draft=fields["draft"],
            seen=fields["seen"],
            trust=fields["trust"],
            sends_rectangles=bool(fields["sends_rectangles"]),
        )
    except (ValueError, KeyError, TypeError):  # written by another version
        return Memory()
