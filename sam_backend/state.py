"""What the workers of one server share: a small SQLite file in the model folder.

It holds the prompts seen a moment ago, how to reach each project's Label Studio, and the last
refusals. All of it may be lost without harm.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson

from sam_backend.database import Database
from sam_backend.joining import Memory
from sam_backend.prompts import Prompt, Target

logger = logging.getLogger("sam_backend")

P = ParamSpec("P")
R = TypeVar("R")

MEMORY_S = 3600.0
LAST_REFUSALS = 50

_SCHEMA = """
create table if not exists memory (
    project text, task text, target text, seen real, value blob, primary key (project, task, target)
);
create table if not exists setups (project text primary key, url text, token text, extra blob);
create table if not exists believed (one integer primary key check (one = 1), url text);
create table if not exists refusals (time real, place text, cause text, message text);
"""


@dataclass(frozen=True)
class Connection:
    """A Label Studio and a token for it, as a `/setup` request told them."""

    url: str
    token: str | None


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
    """A file that cannot be used (a full disk, say) must not cost anyone a mask."""

    @wraps(method)
    def attempt(state: State, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(state, *args, **kwargs)
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
        """Once: what is wrong with the file stays wrong for many requests."""
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        logger.log(
            level,
            "%s is out of use (%s): prompts are joined and errors shown within one request only",
            self.path,
            error,
        )

    @classmethod
    def in_folder(cls, folder: Path) -> State:
        """The state in a folder, or in a temporary one where that cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls(folder / "state.sqlite3")
        except (OSError, sqlite3.Error):
            path = Path(tempfile.mkdtemp(prefix="sam-backend-")) / "state.sqlite3"
            logger.warning("%s cannot be written: what workers share is in %s", folder, path)
            return cls(path)

    @_if_possible
    def update_memory(
        self,
        project: str,
        task: str,
        target: Target,
        change: Callable[[Memory], Memory],
        image: str = "",
    ) -> None:
        """Replaces the memory of one task, target and image, with no request in between."""
        key = (project, task, orjson.dumps([asdict(target), image]).decode())
        with self._database.transaction() as db:
            now = time.time()  # a later time is a clock's that was put back since
            db.execute(
                "delete from memory where seen not between ? and ?",
                (now - MEMORY_S, now + MEMORY_S),
            )
            row = db.execute(
                "select value from memory where project = ? and task = ? and target = ?", key
            ).fetchone()
            memory = change(_memory(row[0]) if row else Memory())
            db.execute(
                "insert or replace into memory values (?, ?, ?, ?, ?)",
                (*key, memory.seen, orjson.dumps(asdict(memory))),
            )

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
        """What a `/setup` request told: it comes often, and predictions do not repeat it.

        Without a connection, the one that was told before stays.
        """
        extra = orjson.dumps(extra_params)
        with self._database.transaction() as db:
            db.execute(
                "insert into setups values (?, '', null, ?) "
                "on conflict (project) do update set extra = excluded.extra",
                (project, extra),
            )
            if connection:
                db.execute(
                    "update setups set url = ?, token = ? where project = ?",
                    (connection.url, connection.token, project),
                )

    @_if_possible
    def believe(self, url: str) -> str:
        """Notes the Label Studio that proved itself; the one that did so first is the answer."""
        with self._database.transaction() as db:
            db.execute("insert or ignore into believed values (1, ?)", (url,))
            return str(db.execute("select url from believed").fetchone()[0])

    @_if_possible
    def believed(self) -> str | None:
        """The Label Studio that proved itself, if one did."""
        with self._database.opened() as db:
            row = db.execute("select url from believed").fetchone()
        return str(row[0]) if row else None

    @_if_possible
    def extra_params(self, project: str) -> Mapping[str, Any]:
        """The extra params of a project's model in Label Studio."""
        with self._database.opened() as db:
            row = db.execute("select extra from setups where project = ?", (project,)).fetchone()
        extra = orjson.loads(row[0]) if row else {}
        return extra if isinstance(extra, dict) else {}

    @_if_possible
    def connection(self, project: str) -> Connection | None:
        with self._database.opened() as db:
            row = db.execute(
                "select url, token from setups where project = ? and url != ''", (project,)
            ).fetchone()
        return Connection(*row) if row else None

    @_if_possible
    def add_refusal(self, refusal: RefusalRecord) -> None:
        with self._database.transaction() as db:
            db.execute(  # what happens again and again is one line, with its last time
                "delete from refusals where place = ? and message = ?",
                (refusal.where, refusal.message),
            )
            db.execute(
                "insert into refusals values (?, ?, ?, ?)",
                (refusal.time, refusal.where, refusal.cause, refusal.message),
            )
            db.execute(
                "delete from refusals where rowid <= (select max(rowid) from refusals) - ?",
                (LAST_REFUSALS,),
            )

    @_if_possible
    def refusals(self) -> list[RefusalRecord]:
        """The last refusals, newest first."""
        with self._database.opened() as db:
            rows = db.execute(
                "select time, place, cause, message from refusals order by rowid desc"
            ).fetchall()
        return [RefusalRecord(*row) for row in rows]


def _memory(value: bytes) -> Memory:
    try:
        fields = orjson.loads(value)
        return Memory(
            prompts=tuple(Prompt(**prompt) for prompt in fields["prompts"]),
            draft=fields["draft"],
            seen=fields["seen"],
            trust=fields["trust"],
        )
    except (ValueError, KeyError, TypeError):  # written by another version
        return Memory()
