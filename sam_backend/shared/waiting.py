"""Whether a request can still be answered in time: from the queue, and from the requests before.

An annotator who waits for seconds clicks again, and then the server has two clicks to answer. So a
request that would end too late is refused at once, and the others stay quick.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# From a click's arrival to its answer. Clicks that are answered take less than a second.
PATIENCE_S = 0.7
_NEWEST = 0.2  # the weight of the newest time in a mean


class Pace:
    """The seconds that one request takes when it has its turn: a mean, mostly of the last ten."""

    def __init__(self) -> None:
        self.seconds: float | None = None  # nothing is known before the first one

    def took(self, seconds: float) -> None:
        """Counts a request that ended."""
        known = seconds if self.seconds is None else self.seconds
        self.seconds = known + _NEWEST * (seconds - known)


def wait(ahead: int, at_once: int, pace: Pace) -> float:
    """The seconds until a request has its turn. `ahead` of it, requests wait or are answered."""
    return max(0, ahead - at_once + 1) * (pace.seconds or 0.0) / at_once


def is_in_time(ahead: int, at_once: int, pace: Pace, left: float) -> bool:
    """Whether a request ends within the seconds that are left.

    A request with one turn ahead of it always waits, however slow the machine is: two annotators
    of a slow server shall both get their masks.
    """
    waits, seconds = wait(ahead, at_once, pace), pace.seconds or 0.0
    return waits <= seconds or waits + seconds <= left


_until: ContextVar[float] = ContextVar("until", default=math.inf)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Sets the seconds from now within which this thread's request should be answered."""
    token = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def left() -> float:
    """The seconds that this thread's request has left. Commands and batches have any number."""
    return _until.get() - time.monotonic()
