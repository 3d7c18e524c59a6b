"""What a call costs: processor time and peak memory, measured in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam_backend.errors import Refusal

# No request under a megabyte may cost more. Most cost a hundredth of it.
MOST_SECONDS = 2.0  # on an AMD EPYC (Zen 5)
MOST_MEGABYTES = 300.0
# Twice the input costs twice as much. The rest is noise; by the square, it would be 4 times.
MOST_GROWTH = 3.0
# Shorter times are noise.
_MEASURABLE_SECONDS = 0.4
# Whatever runs beside a call adds to its cost, so the least of some tries counts.
_TRIES = 3
# Of `_reference`, there.
_REFERENCE_SECONDS = 0.05


@dataclass(frozen=True)
class Cost:
    seconds: float  # of processor time, in all threads; fewer than measured on a slower CPU
    megabytes: float  # of memory at the worst moment, beyond what the process had before


def cost_of(function: Callable[[Any], object], argument: object) -> Cost:
    """What a call with one argument costs, whether it returns or refuses."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as child:
        return child.submit(_measured, function, argument).result()


def assert_cheap(cost: Cost) -> None:
    """Within the limits for every request under a megabyte."""
    assert cost.seconds < MOST_SECONDS, cost
    assert cost.megabytes < MOST_MEGABYTES, cost


def assert_linear(function: Callable[[Any], object], argument_of: Callable[[int], object]) -> None:
    """The input of size 2 costs at most about twice as much as that of size 1."""
    for _ in range(_TRIES):
        single, double = (cost_of(function, argument_of(size)) for size in (1, 2))
        if double.seconds < max(_MEASURABLE_SECONDS, MOST_GROWTH * single.seconds):
            return
    raise AssertionError(f"the cost more than doubles with the input: {single}, {double}")


def slowness() -> float:
    """How much longer than there the same work takes here and now. At least 1."""
    return max(1.0, _seconds(_reference) / _REFERENCE_SECONDS)


def _measured(function: Callable[[Any], object], argument: object) -> Cost:
    slow = slowness()
    before = _peak_bytes(reset=True)
    seconds = _seconds(lambda: function(argument))
    megabytes = (_peak_bytes(reset=False) - before) / 2**20
    return Cost(seconds / max(slow, slowness()), megabytes)


def _seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    with contextlib.suppress(ValueError, Refusal):  # these have their cost as well
        function()
    return time.process_time() - started


def _reference() -> None:
    """Work in Python and in NumPy, which tells a slow or busy CPU from a costly call."""
    words: dict[str, int] = {}
    for number in range(200_000):
        word = f"k{number % 5000}"
        words[word] = words.get(word, 0) + number
    pixels = np.arange(30_000, dtype=np.float32)
    for _ in range(2_000):
        pixels = np.sqrt(pixels + 1)


def _peak_bytes(*, reset: bool) -> int:
    """The most memory that this process has had, on Linux since the last reset."""
    status = Path("/proc/self/status")
    if status.exists():
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        found = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(found.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if os.uname()[0] == "Darwin" else 1024
    )
