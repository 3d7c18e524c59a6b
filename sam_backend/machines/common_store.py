"""The connection to the Redis server that machines share. It fails open.

A question that gets no answer in time, or an error, raises `Alone`, and the caller uses what this
machine knows. After a few such failures, nothing is asked for some seconds.

One thread talks to the server with asyncio. So a time limit covers the whole question: the
look-up of the name, the connection, and each byte of the answer. A late question is cancelled.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from sam_backend import metrics
from sam_backend.machines.breaker import Breaker

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger("sam_backend")

T = TypeVar("T")

ANSWER_S = 0.05  # a click waits this long for an answer
_FAILURES = 3  # in a row: one slow answer of a busy machine is no reason to go on alone
_PAUSE_S = 5.0

Question = Callable[["Redis"], Awaitable[T]]


class Alone(Exception):
    """The common store gave no answer. This machine uses what it knows itself."""


class CommonStore:
    """Asks the server, within a time limit. Values are bytes, and nothing in them is executed."""

    def __init__(self, url: str, prefix: str, ca_file: str | None = None) -> None:
        self._url = url
        self._prefix = prefix
        self._ca_file = ca_file
        self._breaker = Breaker(_FAILURES, _PAUSE_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._redis: Redis | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        metrics.COMMON_STORE_UP.set(1)
        self._trouble = ""  # since when, and why, there is no answer
        self._refusal = ""  # the last command that the server refused, such as when it is full

    def key(self, kind: str, *names: str) -> str:
        """The key of a value. Names come from requests, so only their hash is used."""
        digest = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()
        return f"{self._prefix}:{kind}:{digest}"

    def ask(self, question: Question[T], within_s: float | None = None) -> T:
        """The answer to a question, by default within ANSWER_S, or Alone."""
        from redis.exceptions import ResponseError  # noqa: PLC0415 (optional)

        if not self._breaker.allows():
            metrics.COMMON_STORE.labels("skipped").inc()
            raise Alone
        loop, redis = self._started()
        asked: Future[T] = asyncio.run_coroutine_threadsafe(soon(question(redis), within_s), loop)
        try:
            answer = asked.result()
        except (
            ResponseError
        ) as error:  # it answers, but not as asked: full, or another kind of value
            self._answered()
            self._refused(error)
            raise Alone from None
        except Exception as error:  # noqa: BLE001 (what answers need not be a Redis)
            self._failed(error)
            raise Alone from None
        self._answered()
        return answer

    def begin(self, work: Callable[[Redis], Coroutine[Any, Any, None]]) -> Future[None]:
        """Work in the background, until it ends or is cancelled."""
        loop, redis = self._started()
        return asyncio.run_coroutine_threadsafe(work(redis), loop)

    def close(self) -> None:
        """Ends its connections and its thread."""
        with self._lock:
            if self._loop is None or self._redis is None or self._thread is None:
                return
            asyncio.run_coroutine_threadsafe(_closed(self._redis), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = self._redis = self._thread = None

    @property
    def state(self) -> str:
        """For the status page. Never shows a password."""
        if self._trouble:
            return f"no answer from {self._place} since {self._trouble}: this machine goes on alone"
        if self._refusal:
            return f"connected to {self._place}, which refused a value at {self._refusal}"
        return f"connected to {self._place}" if self._redis else f"{self._place}, not asked yet"

    @property
    def _place(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.hostname}:{parts.port or 6379}"

    def _started(self) -> tuple[asyncio.AbstractEventLoop, Redis]:
        """The loop and the client, made at first use, because a server forks after its setup."""
        with self._lock:
            if self._loop is None or self._redis is None:
                self._redis = _client(self._url, self._ca_file)
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="common-store", daemon=True
                )
                self._thread.start()
            return self._loop, self._redis

    def _answered(self) -> None:
        metrics.COMMON_STORE.labels("answered").inc()
        if self._breaker.succeeded():
            logger.warning("the Redis at %s answers again", self._place)
        self._trouble = ""
        metrics.COMMON_STORE_UP.set(1)

    def _failed(self, error: Exception) -> None:
        metrics.COMMON_STORE.labels("failed").inc()
        if self._breaker.failed():
            why = str(error) or "too slow"
            self._trouble = f"{time.strftime('%H:%M:%S')} ({type(error).__name__}: {why})"
            metrics.COMMON_STORE_UP.set(0)
            logger.warning(
                "the Redis at %s does not answer (%s: %s): this machine goes on alone, and tries "
                "again every %.0f s",
                self._place,
                type(error).__name__,
                why,
                _PAUSE_S,
            )

    def _refused(self, error: Exception) -> None:
        message = str(error)
        is_new = not self._refusal.endswith(message)  # the same one comes with every value
        self._refusal = f"{time.strftime('%H:%M:%S')}: {message}"
        if is_new:
            logger.warning(
                "the Redis at %s refused a value (%s): other machines will not see it, see "
                "docs/scale.md",
                self._place,
                message,
            )


async def soon(answer: Awaitable[T], within_s: float | None = None) -> T:
    """An answer within a time, by default ANSWER_S; asyncio.TimeoutError."""
    return await asyncio.wait_for(answer, ANSWER_S if within_s is None else within_s)


async def fields_of(redis: Redis, key: str) -> dict[bytes, bytes]:
    """All fields of a hash."""
    return cast("dict[bytes, bytes]", await redis.hgetall(key))


async def names(redis: Redis, key: str) -> set[str]:
    """All members of a set."""
    return {
        member.decode(errors="replace") for member in cast("set[bytes]", await redis.smembers(key))
    }


async def _closed(redis: Redis) -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await redis.aclose()
    await asyncio.sleep(0)  # for the transports to end


def _client(url: str, ca_file: str | None) -> Redis:
    from redis.asyncio import Redis  # noqa: PLC0415 (optional)
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    options: dict[str, Any] = {"ssl_ca_certs": ca_file} if ca_file and _has_tls(url) else {}
    # The time limits are ours, and each question is asked once.
    return Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=None,
        **options,
    )


def _has_tls(url: str) -> bool:
    return url.startswith("rediss:")
