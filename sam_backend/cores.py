"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # microseconds of all cores, in so many microseconds


def cores() -> int:
    """How many this process may use: with more decodes at once, all of them only finish later.

    A container with a limit sees all cores of its machine. With a thread for each of them, it
    would have used up its share of a moment in an instant, and stand still for the rest.
    """
    known = hasattr(os, "sched_getaffinity")
    allowed = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    try:
        share, moment = map(int, _CPU_LIMIT.read_text().split())
    except (OSError, ValueError):  # not on Linux, in no container, or "max"
        return allowed
    return max(1, min(allowed, -(-share // moment)))
