"""Memory that nobody uses, given back to the machine."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import weakref
from collections.abc import Callable


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
        self._timer: threading.Timer | None = None

    def used(self) -> None:
        """Starts waiting, from the beginning if it waits already."""
        timer = threading.Timer(self._after_s, self._end)
        timer.daemon = True
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = timer
            timer.start()

    def _end(self) -> None:
        release = self._release()
        if release is not None:
            release()
        give_back()
