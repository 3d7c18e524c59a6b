"""No input under a megabyte costs more than 2 s of processor time or 300 MB of memory.

The time is that of the CPU in SECURITY.md. It is longer on a slower one, in proportion to a click.
The whole service is asked, in a process of its own and with MobileSAM: every route, and every part
of a request. `COSTS_CASES=20000` tries 20,000 cases, `COSTS=file` writes the worst of each family.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fuzz.costs import FAMILIES
from tests.fuzz.costs.family import LARGEST, Draw, Family, drawn
from tests.fuzz.costs.report import Report
from tests.fuzz.costs.server import Cost, Server
from tests.loopback import site
from tests.needs import need_weights

Count = Callable[[str], None]

# Of all families together, beside the one or two that each family has in any case.
CASES = int(os.environ.get("COSTS_CASES", "0"))
CHEAP_CASES = 2  # at least, of each family whose work is done when the answer comes
SMALLEST = 1000
# An input of double size costs double; the rest is for what a measurement is off by.
MOST_GROWTH = 2.6
SECONDS_OFF, MB_OFF = 0.3, 100.0
# Whatever runs beside an input adds to its cost, so the least of some tries counts.
TRIES = 4
_NOTHING = Cost(0.0, 0.0, None)


@dataclass(frozen=True)
class Bench:
    """Where inputs are made and put to the service."""

    server: Server
    draw: Callable[[random.Random, int], Draw]
    report: Report

    def cost(self, kind: Family, seed: str, size: int) -> Cost:
        """Of the input that a seed stands for, at about this size."""
        made = kind.make(self.draw(random.Random(seed), size))
        content = tuple(drawn(made))
        cost = self.server.cost(content, goes_on=kind.goes_on, cut_off=kind.cut_off)
        self.report.add(kind.name, seed, sum(map(len, content)), cost)
        return cost


@pytest.fixture(autouse=True)
def _no_hang() -> None:
    """Each request has a time limit of its own, and a test may be of thousands."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    need_weights()
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("memory is measured in /proc, which Linux has")
    folder, pictures = tmp_path_factory.mktemp("costs"), tmp_path_factory.mktemp("pictures")
    report = Report()
    with site() as host:
        server = Server(
            folder,
            LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=str(pictures),
            ALLOWED_IMAGE_HOSTS="127.0.0.1",
        )
        try:
            yield Bench(server, lambda dice, size: Draw(dice, size, host), report)
        finally:
            server.stop()


@pytest.fixture(autouse=True)
def _write_report(bench: Bench) -> Iterator[None]:
    """After each family, for a long run may be ended before the last one."""
    yield
    if os.environ.get("COSTS"):
        Path(os.environ["COSTS"]).write_text(bench.report.table())


@pytest.mark.parametrize("name", FAMILIES)
def test_costs_are_small_and_double_at_most_with_the_input(
    bench: Bench, tried: Count, name: str
) -> None:
    kind = FAMILIES[name]
    for number in range(1 + CASES // 5000):
        tried("inputs by their cost")
        seed = f"{name} doubled {number}"
        whole = _small_cost(bench, kind, seed, LARGEST)
        if not _grew(_NOTHING, whole):
            continue  # too little to compare with
        half = _small_cost(bench, kind, seed, LARGEST // 2)
        for _ in range(1, TRIES):
            if not _grew(half, whole):
                break
            half, whole = (bench.cost(kind, seed, size) for size in (LARGEST // 2, LARGEST))
        assert not _grew(half, whole), f"half the size: {half}; all of it: {whole} (seed {seed!r})"
    for number in range(max(CASES // len(FAMILIES), 0 if kind.goes_on else CHEAP_CASES)):
        tried("inputs by their cost")
        seed = f"{name} {number}"
        # As many small ones as large ones: limits lie anywhere.
        size = int(SMALLEST * math.exp(random.Random(seed).random() * math.log(LARGEST / SMALLEST)))
        _small_cost(bench, kind, seed, size)


def _small_cost(bench: Bench, kind: Family, seed: str, size: int) -> Cost:
    for _ in range(TRIES):
        cost = bench.cost(kind, seed, size)
        fault = cost.fault()
        if fault is None:
            return cost
    raise AssertionError(f"{fault} (seed {seed!r}, {size:,} bytes)")


def _grew(half: Cost, whole: Cost) -> bool:
    """Whether the cost more than doubled with the size."""
    return (
        whole.seconds > MOST_GROWTH * half.seconds + SECONDS_OFF
        or whole.megabytes > MOST_GROWTH * half.megabytes + MB_OFF
    )
