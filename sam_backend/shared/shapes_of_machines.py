"""The shapes of kept masks, for several machines: a webhook arrives at one of them only.

The common store knows best. While it does not answer, a machine uses the shapes that it heard of.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from math import isfinite
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import orjson
from cachetools import TTLCache

from sam_backend.clicks.kept_masks import KeptMask
from sam_backend.clicks.learnt_shapes import MOST, Learnt
from sam_backend.machines.common_store import Alone, CommonStore, fields_of, names
from sam_backend.machines.sealed import seal, unsealed
from sam_backend.shared.kept_shapes import MOST_ANSWERS, KeptShapes, Knowledge

if TYPE_CHECKING:
    from redis.asyncio import Redis

KEPT_S = 90 * 86_400  # after the last change
SETTLED_S = 5.0  # how long a machine may not know what another one has learnt
_WRITE_S = 1.0  # no click waits for it
_KEPT = struct.Struct("<ddd")  # when, and the two figures


class MachinesShapes:
    """The methods of `KeptShapes`."""

    def __init__(self, own: KeptShapes, store: CommonStore) -> None:
        self._own = own
        self._store = store
        self._answers: TTLCache[str, Learnt | None] = TTLCache(MOST_ANSWERS, SETTLED_S)
        self._lock = Lock()

    def put(self, project: str, annotation: str, masks: Sequence[KeptMask]) -> None:
        """Replaces all masks of an annotation."""
        self._own.put(project, annotation, masks)

        async def put(redis: Redis) -> None:
            labels = await self._labels(redis, project) | {mask.label for mask in masks}
            for label in labels:
                of_label = {mask.region: mask for mask in masks if mask.label == label}
                await self._put(redis, project, label, annotation, of_label)
            await self._remember_names(redis, project, labels)

        self._attempt(put)

    def learnt(self, project: str, label: str) -> Learnt | None:
        """What a label's masks have in common. None while they are too few."""
        key = self._store.key("shapes", project, label)
        with self._lock, contextlib.suppress(KeyError):
            return self._answers[key]
        try:
            fields = self._store.ask(lambda redis: fields_of(redis, key))
        except Alone:
            return self._own.learnt(project, label)
        rows = sorted(row for pair in fields.items() if (row := _row(key, *pair)))
        found = Learnt.of([np.array(figures) for _, *figures in rows[:MOST]])
        with self._lock:
            self._answers[key] = found
        return found

    def forget_annotations(self, project: str, annotations: Sequence[str]) -> None:
        """Forgets annotations that were deleted in Label Studio."""
        self._own.forget_annotations(project, annotations)

        async def forget(redis: Redis) -> None:
            for label in await self._labels(redis, project):
                for annotation in annotations:
                    await self._put(redis, project, label, annotation, {})

        self._attempt(forget)

    def forget_project(self, project: str) -> None:
        """Forgets a project that was deleted, or whose masks must not be used."""
        self._own.forget_project(project)
        self._attempt(lambda redis: self._forget(redis, project))

    def forget_projects_of(self, number: str) -> None:
        """Forgets all projects with this number, whenever they were created."""
        self._own.forget_projects_of(number)

        async def forget(redis: Redis) -> None:
            for project in await names(redis, self._store.key("projects", number)):
                await self._forget(redis, project)

        self._attempt(forget)

    def known(self) -> list[Knowledge] | None:
        """The shapes that this machine knows."""
        return self._own.known()

    async def _put(
        self, redis: Redis, project: str, label: str, annotation: str, masks: dict[str, KeptMask]
    ) -> None:
        """Replaces the masks of an annotation with one label, by their regions.

        A mask keeps the time when it came first. New ones are left out when there are enough.
        """
        key = self._store.key("shapes", project, label)
        found = await fields_of(redis, key)
        rows = {field: _row(key, field, content) for field, content in found.items()}
        start = orjson.dumps([annotation])[:-1] + b","
        fields = {start + orjson.dumps(region): mask for region, mask in masks.items()}
        gone = [field for field in rows if field.startswith(start) and field not in fields]
        if gone:
            await redis.hdel(key, *gone)
        room = MOST - len(rows) + len(gone)
        for field, mask in fields.items():
            row = rows.get(field)
            if row or room > 0:
                room -= not row
                value = _KEPT.pack(row[0] if row else time.time(), *mask.figures)
                await redis.hset(key, field, seal(_place(key, field), value))
        await redis.expire(key, KEPT_S)

    async def _forget(self, redis: Redis, project: str) -> None:
        for label in await self._labels(redis, project):
            await redis.delete(self._store.key("shapes", project, label))
        await redis.delete(self._store.key("labels", project))

    async def _labels(self, redis: Redis, project: str) -> set[str]:
        return await names(redis, self._store.key("labels", project))

    async def _remember_names(self, redis: Redis, project: str, labels: set[str]) -> None:
        number = project.partition(".")[0]
        for key, each in (
            (self._store.key("labels", project), labels),
            (self._store.key("projects", number), {project}),
        ):
            if each:
                await redis.sadd(key, *each)
                await redis.expire(key, KEPT_S)

    def _attempt(self, work: Callable[[Redis], Awaitable[None]]) -> None:
        with contextlib.suppress(Alone):
            self._store.ask(work, _WRITE_S)


def _row(key: str, field: bytes, content: bytes) -> tuple[float, float, float] | None:
    """When a mask was kept, and its figures."""
    value = unsealed(_place(key, field), content)
    if value is None or len(value) != _KEPT.size:
        return None
    when, share, filled = _KEPT.unpack(value)
    # The logarithm of a share, and another share. Anything else would spoil all sums.
    is_sound = isfinite(when) and -50 < share <= 0 <= filled <= 1
    return (when, share, filled) if is_sound else None


def _place(key: str, field: bytes) -> str:
    return f"{key}/{field.hex()}"
