"""The ids of programs, for several machines.

The common store knows best: an id may have been removed, or stand for another image, elsewhere. The
machine's own file answers while the store does not.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import orjson

from sam_backend.machines.common_store import Alone, CommonStore
from sam_backend.machines.sealed import seal, unsealed
from sam_backend.shared.program_ids import KEPT_S, KnownAnswer, ProgramIds

if TYPE_CHECKING:
    from redis.asyncio import Redis


class MachinesIds:
    """The methods of `ProgramIds`."""

    def __init__(self, own: ProgramIds, store: CommonStore) -> None:
        self._own = own
        self._store = store

    def add_image(self, content: str, id_: str | None = None) -> str:
        """An id for the image with this SHA-256: one that nobody can guess, or a given one."""
        id_ = self._own.add_image(content, id_)
        key, ids = self._store.key("image", id_), self._store.key("ids", content)

        async def add(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as asked:
                asked.set(key, seal(key, content.encode()), ex=KEPT_S)
                asked.sadd(ids, key)
                asked.expire(ids, KEPT_S)
                await asked.execute()

        with contextlib.suppress(Alone):
            self._store.ask(add)
        return id_

    def content(self, image_id: str) -> str | None:
        """The SHA-256 of an image."""
        key = self._store.key("image", image_id)
        try:
            found = self._store.ask(lambda redis: redis.getex(key, ex=KEPT_S))
        except Alone:
            return self._own.content(image_id)
        return _text(unsealed(key, found))

    def remove_image(self, image_id: str) -> str | None:
        """Forgets an image and its answers. Its SHA-256, if no other id stands for it."""
        content = self.content(image_id)
        own = self._own.remove_image(image_id)
        if content is None:
            return own
        key, ids = self._store.key("image", image_id), self._store.key("ids", content)

        async def remove(redis: Redis) -> int:
            async with redis.pipeline(transaction=False) as asked:
                asked.delete(key)
                asked.srem(ids, key)
                asked.scard(ids)
                left: int = (await asked.execute())[-1]
            return left

        try:
            return None if self._store.ask(remove) else content
        except Alone:
            return own

    def add_answers(self, image_id: str, values: list[bytes]) -> list[str]:
        """New ids for answers about an image."""
        content = self.content(image_id)
        ids = self._own.add_answers(image_id, values)
        keys = [self._store.key("answer", id_) for id_ in ids]

        async def add(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as asked:
                for key, value in zip(keys, values, strict=True):
                    known = {"image": image_id, "content": content, "value": value.decode()}
                    asked.set(key, seal(key, orjson.dumps(known)), ex=KEPT_S)
                await asked.execute()

        with contextlib.suppress(Alone):
            self._store.ask(add)
        return ids

    def answer(self, answer_id: str) -> KnownAnswer | None:
        """What an answer follows from, unless its id stands for another image now."""
        key = self._store.key("answer", answer_id)
        try:
            value = unsealed(key, self._store.ask(lambda redis: redis.get(key)))
        except Alone:
            return self._own.answer(answer_id)
        known = _strings(value)
        if known is None or self.content(known["image"]) != known["content"]:
            return None
        return KnownAnswer(known["image"], known["value"].encode())


def _text(value: bytes | None) -> str | None:
    """The text; None if another writer left something else."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _strings(value: bytes | None) -> dict[str, str] | None:
    """What a machine left of an answer; None if another writer left something else."""
    try:
        known = None if value is None else orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    names = ("image", "content", "value")
    is_known = isinstance(known, dict) and all(isinstance(known.get(n), str) for n in names)
    return known if is_known else None
