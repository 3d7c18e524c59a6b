"""What the machines know of a task: its project's extra params, and its earlier clicks.

One question before a click brings all of it, and one after the click leaves what is new. The
address and the token of a Label Studio never leave a machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from sam_backend.machines.common_store import Alone, CommonStore, fields_of
from sam_backend.machines.sealed import seal, unsealed

if TYPE_CHECKING:
    from redis.asyncio import Redis

CLICKS_KEPT_S = 3600
SETUP_KEPT_S = 90 * 86_400
MOST_CLICKS = 64  # of a task: a label on an image each


@dataclass(frozen=True)
class TaskOfMachines:
    """What the machines knew before a click, and what this click adds."""

    key: str
    extra_params: Mapping[str, Any] | None = None  # None: no machine knows
    clicks: Mapping[bytes, bytes] = field(default_factory=dict)
    new: dict[bytes, bytes] = field(default_factory=dict)


class TasksOfMachines:
    """Tasks and projects in the common store."""

    def __init__(self, store: CommonStore) -> None:
        self._store = store

    def task(self, project: str, task: str) -> TaskOfMachines | None:
        """What the machines know of a task. None if the common store does not answer."""
        setup, key = self._store.key("setup", project), self._store.key("task", task)

        async def read(redis: Redis) -> tuple[object, dict[bytes, bytes]]:
            async with redis.pipeline(transaction=False) as asked:
                asked.get(setup)
                asked.hgetall(key)
                value, clicks = await asked.execute()
            return value, clicks

        try:
            value, clicks = self._store.ask(read)
        except Alone:
            return None
        return TaskOfMachines(key, _params(setup, value), _unsealed_all(key, clicks))

    def keep(self, task: TaskOfMachines) -> None:
        """Leaves the new clicks of a task for the other machines."""
        if not task.new:
            return
        is_full = len(task.clicks) >= MOST_CLICKS
        sealed = _sealed_all(task.key, task.new)

        async def write(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as asked:
                if is_full:
                    asked.delete(task.key)
                asked.hset(task.key, mapping=sealed)
                asked.expire(task.key, CLICKS_KEPT_S)
                await asked.execute()

        with contextlib.suppress(Alone):
            self._store.ask(write)

    def change_clicks(self, task: str, change: Callable[[bytes], bytes]) -> None:
        """Changes all earlier clicks of a task."""
        key = self._store.key("task", task)

        async def write(redis: Redis) -> None:
            clicks = _unsealed_all(key, await fields_of(redis, key))
            if clicks:
                changed = {name: change(value) for name, value in clicks.items()}
                await redis.hset(key, mapping=_sealed_all(key, changed))

        with contextlib.suppress(Alone):
            self._store.ask(write)

    def remember_setup(self, project: str, extra_params: bytes) -> None:
        """Keeps a project's extra params, as JSON."""
        key = self._store.key("setup", project)
        with contextlib.suppress(Alone):
            self._store.ask(lambda redis: redis.set(key, seal(key, extra_params), ex=SETUP_KEPT_S))

    def extra_params(self, project: str) -> Mapping[str, Any] | None:
        """A project's extra params. None if no machine knows, or the store does not answer."""
        key = self._store.key("setup", project)
        try:
            return _params(key, self._store.ask(lambda redis: redis.get(key)))
        except Alone:
            return None


def _params(key: str, content: object) -> Mapping[str, Any] | None:
    value = unsealed(key, content)
    try:
        params = None if value is None else orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return params if isinstance(params, dict) else None


def _sealed_all(key: str, values: Mapping[bytes, bytes]) -> dict[Any, Any]:
    return {name: seal(_place(key, name), value) for name, value in values.items()}


def _unsealed_all(key: str, fields: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    found = {name: unsealed(_place(key, name), content) for name, content in fields.items()}
    return {name: value for name, value in found.items() if value is not None}


def _place(key: str, name: bytes) -> str:
    return f"{key}/{name.hex()}"
