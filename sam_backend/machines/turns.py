"""One machine makes a value, and the others wait until it is made."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sam_backend.machines.common_store import Alone, CommonStore, soon

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub
    from redis.asyncio.lock import Lock

# The lock of a machine that was cut off or killed ends after this time. A living one renews it.
LOCK_S = 2.0
_LOOK_S = 0.5  # how often a waiting machine looks whether the lock has ended without a word


@contextmanager
def turn(store: CommonStore, name: str, wait_s: float) -> Iterator[bool]:
    """True: the value may be made here, and others wait until the block ends.

    False: another machine has just finished, or took too long. If the common store does not
    answer, every machine has its turn.
    """
    key, channel = store.key("turn", name), store.key("made", name)
    try:
        lock = store.ask(lambda redis: _taken(redis, key, channel, wait_s), wait_s + 1)
    except Alone:
        yield True
        return
    if lock is None:
        yield False
        return
    renewal = store.begin(lambda _redis: _renewed(lock))
    try:
        yield True
    finally:
        renewal.cancel()
        with contextlib.suppress(Alone):  # then it ends by itself
            store.ask(lambda redis: _released(redis, lock, channel))


async def _taken(redis: Redis, key: str, channel: str, wait_s: float) -> Lock | None:
    """The lock; None once another machine has made the value, or took too long."""
    until = time.monotonic() + wait_s
    lock = redis.lock(key, timeout=LOCK_S, blocking=False, thread_local=False)
    if await soon(lock.acquire()):
        return lock
    async with redis.pubsub(ignore_subscribe_messages=True) as news:
        await soon(news.subscribe(channel))
        while time.monotonic() < until:
            if await soon(lock.acquire()):  # it may have ended before we listened
                return lock
            if await _heard(news):
                return None
    return None


async def _heard(news: PubSub) -> bool:
    deadline = time.monotonic() + _LOOK_S
    while (left := deadline - time.monotonic()) > 0:
        if await news.get_message(timeout=left):
            return True
    return False


async def _renewed(lock: Lock) -> None:
    from redis.exceptions import RedisError  # noqa: PLC0415 (optional)

    while True:
        await asyncio.sleep(LOCK_S / 4)
        with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
            await soon(lock.reacquire())


async def _released(redis: Redis, lock: Lock, channel: str) -> None:
    from redis.exceptions import LockError  # noqa: PLC0415 (optional)

    with contextlib.suppress(LockError):  # it ended while the machine was cut off
        await lock.release()
    await redis.publish(channel, b"")
