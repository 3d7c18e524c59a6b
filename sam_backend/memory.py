"""Memory that nobody uses, given back to the machine."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
import weakref
from collections.abc import Callable

_ARENA_MAX = -8  # the number of a parameter in glibc's malloc.h


def share_one_arena() -> None:
    """Lets all threads of this process allocate in the same place. Call it before they start.

    By default, glibc gives threads arenas of their own. What a large array leaves free in one of
    them is of no use to the other threads. Other C libraries do without this function.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Returns freed memory, of which opening a model leaves a hundred megabytes.

    glibc keeps it for later allocations; other C libraries do without this function.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class WhenIdle:
    """Calls a method some seconds after the last use of something, and then `give_back`.

    The next use allocates the memory again, which takes time. So nothing is called between uses
    that follow each other.
    """

    def __init__(self, release: Callable[[], object], after_s: float) -> None:
        self._release = weakref.WeakMethod(release)  # a timer that waits keeps nothing alive
        self._after_s = after_s
        self._lock = threading.Lock()
        self._last = 0.0
        self._waits = False

    def used(self) -> None:
        """Starts waiting, from the beginning if it waits already. It starts no thread then."""
        with self._lock:
            self._last = time.monotonic()
            if not self._waits:
                self._waits = self._wait(self._after_s)

    def _wait(self, seconds: float) -> bool:
        """Whether it waits now: a machine may have no room for another thread."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        with contextlib.suppress(RuntimeError):
            timer.start()
            return True
        return False

    def _end(self) -> None:
        with self._lock:
            left = self._last + self._after_s - time.monotonic()
            self._waits = left > 0 and self._wait(left)
            if self._waits:
                return
        release = self._release()
        if release is not None:
            release()
        give_back()
