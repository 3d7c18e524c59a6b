"""Projects of Label Studio, and the content of their `/setup` requests."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from sam_backend.shared.database import keep_last

logger = logging.getLogger("sam_backend")

LAST_SETUPS = 1_000
EXTRA_BYTES = 4_000

TABLE = f"""
create table if not exists setups (
    project text primary key check (length(project) <= 200), url text check (length(url) <= 2000),
    token text check (length(token) <= 4000), extra blob check (length(extra) <= {EXTRA_BYTES})
);
"""


@dataclass(frozen=True)
class StudioConnection:
    """The address of a Label Studio and a token for it, from a `/setup` request."""

    url: str
    token: str | None


@dataclass(frozen=True)
class Project:
    """A project of Label Studio's, and the content of its last `/setup` request."""

    id: str
    from_setup: StudioConnection | None = None
    extra_params: Mapping[str, Any] = field(default_factory=dict)


def read(db: sqlite3.Connection, project: str) -> Project:
    """A project, and the content of its last `/setup` request."""
    row = db.execute(
        "select url, token, extra from setups where project = ?", (project,)
    ).fetchone()
    if row is None:
        return Project(project)
    url, token, extra = row
    params = orjson.loads(extra)
    from_setup = StudioConnection(url, token) if url else None
    return Project(project, from_setup, params if isinstance(params, dict) else {})


def numbered(db: sqlite3.Connection, number: int | None) -> Project | None:
    """The project with this number. Without a number, the project of the last `/setup`.

    `/setup` calls a project by its number and the time when it was made.
    """
    row = db.execute(
        "select project from setups where url != '' and (project like ? or project = ?) "
        "order by rowid desc limit 1",
        ("%", "") if number is None else (f"{number}.%", str(number)),
    ).fetchone()
    return read(db, str(row[0])) if row else None


def with_params(project: Project, extra_params: Mapping[str, Any] | None) -> Project:
    """A project with the extra params that another machine knows, if any."""
    return project if extra_params is None else replace(project, extra_params=extra_params)


def short_params(extra_params: Mapping[str, Any]) -> bytes:
    """Extra params as JSON. Empty if they are too long."""
    extra = orjson.dumps(extra_params)
    if len(extra) > EXTRA_BYTES:
        logger.warning("the model's extra params are left out: %d bytes are too many", len(extra))
        return b"{}"
    return extra


def keep(
    db: sqlite3.Connection,
    project: str,
    connection: StudioConnection | None,
    extra: bytes,
) -> None:
    """Keeps the content of a `/setup` request. Without a connection, the earlier one stays."""
    if connection:
        url, token = connection.url, connection.token
    else:
        known = db.execute("select url, token from setups where project = ?", (project,))
        url, token = known.fetchone() or ("", None)
    db.execute("insert or replace into setups values (?, ?, ?, ?)", (project, url, token, extra))
    keep_last(db, "setups", LAST_SETUPS)
