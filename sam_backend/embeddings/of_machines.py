"""Embeddings that machines make for each other, in the common store."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sam_backend.embeddings.packed import packed, unpacked
from sam_backend.engines.protocol import Embedding
from sam_backend.machines.common_store import Alone, CommonStore, soon
from sam_backend.machines.turns import turn

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger("sam_backend")

KEPT_S = 7 * 86_400  # the server evicts earlier when its memory is full
MOST_BYTES = 64 << 20  # no machine writes a larger value
# A whole embedding takes 20 ms over a network of 1 Gbit/s, and encoding takes longer than this.
_WHOLE_S = 0.2
# Then this machine makes an embedding too, whatever the others are doing.
LONGEST_WAIT_S = 20.0
_WRITE_S = 1.0  # no click waits for it


class MachinesEmbeddings:
    """A value begins with its own name, so one at a wrong key is a miss, like a damaged one."""

    def __init__(self, store: CommonStore) -> None:
        self._store = store

    def get(self, name: str) -> Embedding | None:
        """The embedding of that name, if a machine has left it there."""
        try:
            value = self._store.ask(lambda redis: _read(redis, self._key(name)), 2 * _WHOLE_S)
        except Alone:
            return None
        if not value:
            return None
        head = name.encode()
        embedding = unpacked(memoryview(value)[len(head) :]) if value.startswith(head) else None
        if embedding is None:
            logger.warning("an embedding from another machine is damaged: it is made again")
            self.remove(name)
        return embedding

    def put(self, name: str, embedding: Embedding) -> None:
        """Leaves an embedding for the other machines."""
        content = packed(embedding)
        if content is None or len(content) > MOST_BYTES:
            return
        value = name.encode() + content
        with contextlib.suppress(Alone):
            self._store.ask(lambda redis: redis.set(self._key(name), value, ex=KEPT_S), _WRITE_S)

    def remove(self, name: str) -> None:
        """Removes an embedding, if it is there."""
        with contextlib.suppress(Alone):
            self._store.ask(lambda redis: redis.delete(self._key(name)))

    @contextmanager
    def made_once(self, name: str) -> Iterator[Embedding | None]:
        """The embedding, if another machine has it or is making it now.

        None: this machine makes it, and the others wait for it until the block ends.
        """
        until, found = time.monotonic() + LONGEST_WAIT_S, None
        while found is None:
            wait_s = max(0.0, until - time.monotonic())
            with turn(self._store, name, wait_s) as is_ours:
                found = self.get(name)
                if found is None and (is_ours or not wait_s):
                    yield None
                    return
        yield found

    def _key(self, name: str) -> str:
        return self._store.key("embedding", name)


async def _read(redis: Redis, key: str) -> bytes | None:
    size = await soon(redis.strlen(key))
    if not 0 < size <= MOST_BYTES:
        return None
    value = await soon(redis.get(key), _WHOLE_S)
    return value if isinstance(value, bytes) else None
