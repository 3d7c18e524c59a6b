"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # quota and period, both in microseconds


def cores() -> int:
    """The number of cores that this process may use. More decodes at once would all finish later.

    A container with a limit sees all cores of its machine. With one thread per core, it would use
    up its share at the start of each period and then stand still.
    """
    known = hasattr(os, "sched_getaffinity")
    allowed = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    try:
        share, moment = map(int, _CPU_LIMIT.read_text().split())
    except (OSError, ValueError):  # not on Linux, in no container, or "max"
        return allowed
    return max(1, min(allowed, -(-share // moment)))
