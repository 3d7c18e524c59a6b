"""Memory that nobody uses, given back to the machine."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Returns freed memory, of which opening a model leaves a hundred megabytes.

    glibc keeps it for later allocations; other C libraries do without this function.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
