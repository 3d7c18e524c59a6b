"""Memory that nobody uses, given back to the machine."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
import weakref
from collections.abc import Callable

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_together() -> None:
    """Lets all threads of this process allocate from one place. Call it before they start.

    By default, glibc gives each thread an arena of its own, and each arena keeps what large arrays
    leave behind. Large blocks come from the system instead, and go back to it. The end of the
    arena goes back less often than these limits imply, because fetching it again takes time.
    Other C libraries do without this function.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, 4 << 20)
        mallopt(_TRIM_THRESHOLD, 64 << 20)


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
                self._waits = True
                self._wait(self._after_s)

    def _wait(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        with self._lock:
            left = self._last + self._after_s - time.monotonic()
            self._waits = left > 0
            if self._waits:
                self._wait(left)
                return
        release = self._release()
        if release is not None:
            release()
        give_back()
