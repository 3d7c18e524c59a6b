"""The state that the workers of one server share: a small SQLite file in the model folder.

It holds recent prompts, the address of each project's Label Studio, and the last refusals. Losing
it does no harm. Several machines also share the prompts and the extra params of projects.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson

from sam_backend.clicks.joining import EarlierClick
from sam_backend.shared import earlier_clicks, projects, refusal_records
from sam_backend.shared.database import Database, in_folder
from sam_backend.shared.earlier_clicks import EarlierClicks
from sam_backend.shared.projects import Project, StudioConnection
from sam_backend.shared.refusal_records import RefusalRecord
from sam_backend.shared.tasks_of_machines import TasksOfMachines

logger = logging.getLogger("sam_backend")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# A row with a longer value is not kept: most of these texts come from requests. A file with other
# tables is replaced at start, so a change of this text forgets what is known.
_SCHEMA = f"""{earlier_clicks.TABLE}{projects.TABLE}
create table if not exists believed (
    one integer primary key check (one = 1), url text check (length(url) <= 2000)
);
{refusal_records.TABLE}"""


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
    """Reads and writes the shared file. Each call is one transaction."""

    def __init__(self, path: Path, machines: TasksOfMachines | None = None) -> None:
        self.path = path
        self._machines = machines
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
    def in_folder(cls, folder: Path, machines: TasksOfMachines | None = None) -> State:
        """The state in a folder, or in a temporary folder if that cannot be written."""
        return in_folder(
            folder, "state.sqlite3", "workers share their state", lambda path: cls(path, machines)
        )

    def click(self, project: str, task: str, plan: Callable[[Project, EarlierClicks], T]) -> T:
        """What `plan` makes of a project and of a task's earlier clicks, with one look at the file.

        If the file cannot be used, there are no earlier clicks. A file that can only be read, as
        on a full disk, still tells of the project.
        """
        of_machines = self._machines.task(project, task) if self._machines else None

        def plan_with(known: Project, db: sqlite3.Connection | None) -> T:
            if of_machines:
                known = projects.with_params(known, of_machines.extra_params)
            return plan(known, EarlierClicks(project, task, db, of_machines))

        known = [Project(project)]
        result = self._click(project, plan_with, known)
        planned = result[0] if result else plan_with(known[-1], None)
        if self._machines and of_machines:
            self._machines.keep(of_machines)
        return planned

    @_if_possible
    def _click(
        self,
        project: str,
        plan: Callable[[Project, sqlite3.Connection], T],
        known: list[Project],
    ) -> tuple[T]:
        with self._database.opened() as db:
            known.append(projects.read(db, project))
            db.execute("begin immediate")
            planned = plan(known[-1], db)
            db.execute("commit")  # closing without it rolls back
        return (planned,)

    def project(self, project: str) -> Project:
        """A project, and the content of its last `/setup` request."""
        known = self._project(project) or Project(project)
        if self._machines:
            known = projects.with_params(known, self._machines.extra_params(project))
        return known

    @_if_possible
    def _project(self, project: str) -> Project:
        with self._database.opened() as db:
            return projects.read(db, project)

    @_if_possible
    def numbered(self, number: int | None) -> Project | None:
        """The project with this number. Without a number, the project of the last `/setup`."""
        with self._database.opened() as db:
            return projects.numbered(db, number)

    def change_earlier_clicks(
        self, task: str, change: Callable[[EarlierClick], EarlierClick]
    ) -> None:
        """Changes the earlier clicks of all targets of a task."""
        self._change_earlier_clicks(task, change)
        if self._machines:
            self._machines.change_clicks(
                task, lambda value: earlier_clicks.written(change(earlier_clicks.read(value)))
            )

    @_if_possible
    def _change_earlier_clicks(
        self, task: str, change: Callable[[EarlierClick], EarlierClick]
    ) -> None:
        with self._database.transaction() as db:
            earlier_clicks.change_all(db, task, change)

    def remember_setup(
        self, project: str, connection: StudioConnection | None, extra_params: Mapping[str, Any]
    ) -> None:
        """Keeps the content of a `/setup` request, which predictions do not repeat."""
        extra = projects.short_params(extra_params)
        self._remember_setup(project, connection, extra)
        if self._machines:
            self._machines.remember_setup(project, extra)

    @_if_possible
    def _remember_setup(
        self, project: str, connection: StudioConnection | None, extra: bytes
    ) -> None:
        with self._database.transaction() as db:
            projects.keep(db, project, connection, extra)

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
    def add_refusals(self, refusals: Sequence[RefusalRecord]) -> None:
        """Keeps the last ones. A repeated refusal is one line, with its last time."""
        with self._database.transaction() as db:
            refusal_records.add(db, refusals)

    @_if_possible
    def refusals(self) -> list[RefusalRecord]:
        """The last refusals, newest first."""
        with self._database.opened() as db:
            return refusal_records.newest_first(db)
