"""How clicks and waiting grow with machines: a discrete-event model with measured times.

    .venv-bench/bin/python -m tools.load.simulate [--balance task] [--plot docs/scale.png]

`tools.load.service_times` measures the costs of a click and of an encode.

The annotators work like the ones of `tools.load`: they open a picture, look at it, and click three
times on each of four objects, with pauses of 2 to 4 seconds. The proxy gives the requests of a task
to one machine, and some to others while that one has half as many again as they have (`task`, as in
deploy/haproxy.cfg). Or it gives each request to the machine with the fewest (`fewest`). The cores
of a machine are shared out in slices, so an encode slows clicks and does not stop them. Machines
share embeddings: a click on a picture that another machine is encoding waits for it. The Redis and
the proxy take no time of their own. The table says how much the Redis carries.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

from tools.load.pace import CLICKS, OBJECTS, PAUSE_S

MACHINES = (1, 2, 3, 4, 6, 8, 12, 16)
SLICE_S = 0.005  # of the processor
FETCH_S = 0.02  # the image, from Label Studio
SHARED_S = 0.005  # an embedding, from the Redis
EMBEDDING_MB = 2.1
MOST_AT_ONCE = 8 + 32  # THREADS clicks run and four times as many wait; more get a 503
GOAL_S = 0.25  # the 99th percentile of a click
WARM_UP_S = 40.0

Work = Generator[Any, Any, None]


@dataclass(frozen=True)
class Times:
    """Seconds of one core."""

    click: float
    encode: float
    cores: int


@dataclass
class Machine:
    """Its cores, its requests, and the pictures that are in its memory."""

    cores: simpy.Resource
    requests: int = 0
    pictures: set[int] = field(default_factory=set)


@dataclass
class Tally:
    """What happened after the warm-up."""

    clicks: list[float] = field(default_factory=list)  # seconds
    first: list[float] = field(default_factory=list)  # on a picture
    refused: int = 0
    shared: int = 0  # embeddings that were written to the Redis or read from it

    def add(self, took: float, *, is_first: bool) -> None:
        (self.first if is_first else self.clicks).append(took)


class Cluster:
    """Machines behind a proxy, and the annotators in front of it."""

    def __init__(
        self, machines: int, annotators: int, times: Times, seconds: float, balance: str
    ) -> None:
        self.env = simpy.Environment()
        self._machines = [Machine(simpy.Resource(self.env, times.cores)) for _ in range(machines)]
        self._times = times
        self._by_task = balance == "task"
        self._made: dict[int, tuple[simpy.Event, Machine]] = {}
        self._next_picture = 0
        self._dice = random.Random(1)  # noqa: S311 (pauses and costs)
        self.tally = Tally()
        for _ in range(annotators):
            self.env.process(self._annotate())
        self.env.run(WARM_UP_S)
        self.tally = Tally()
        self.env.run(WARM_UP_S + seconds)

    def _annotate(self) -> Work:
        yield self.env.timeout(self._dice.uniform(0, 39))
        while True:
            picture, self._next_picture = self._next_picture, self._next_picture + 1
            self.env.process(self._prepared(self._chosen(picture), picture))
            for number in range(OBJECTS * CLICKS):
                yield self.env.timeout(self._dice.uniform(*PAUSE_S))
                yield self.env.process(self._click(picture, is_first=number == 0))

    def _chosen(self, picture: int) -> Machine:
        """What the proxy does with a request."""
        machines = self._machines
        if self._by_task:
            most = -(-1.5 * (1 + sum(m.requests for m in machines)) // len(machines))
            begin = random.Random(picture).randrange(len(machines))  # noqa: S311
            in_order = machines[begin:] + machines[:begin]
            return next(machine for machine in in_order if machine.requests < most)
        return min(machines, key=lambda machine: (machine.requests, self._dice.random()))

    def _click(self, picture: int, *, is_first: bool) -> Work:
        machine, began = self._chosen(picture), self.env.now
        if machine.requests >= MOST_AT_ONCE:
            self.tally.refused += 1
            return
        machine.requests += 1
        yield from self._prepared(machine, picture)
        cost = self._times.click * self._dice.lognormvariate(-0.08, 0.4)  # mean 1
        yield from self._work(machine, cost)
        machine.requests -= 1
        self.tally.add(self.env.now - began, is_first=is_first)

    def _prepared(self, machine: Machine, picture: int) -> Work:
        """The picture's embedding comes into the memory of a machine."""
        if picture in machine.pictures:
            return
        yield self.env.timeout(FETCH_S)
        if picture not in self._made:
            made = self.env.event()
            self._made[picture] = made, machine
            parts = [
                self.env.process(self._work(machine, self._times.encode / self._times.cores))
                for _ in range(self._times.cores)
            ]
            yield self.env.all_of(parts)
            made.succeed()
            self.tally.shared += len(self._machines) > 1
        else:
            made, maker = self._made[picture]
            yield made
            if maker is not machine:
                yield self.env.timeout(SHARED_S)
                self.tally.shared += 1
        machine.pictures.add(picture)

    def _work(self, machine: Machine, seconds: float) -> Work:
        """Takes turns with all others on the machine."""
        while seconds > 0:
            with machine.cores.request() as core:
                yield core
                yield self.env.timeout(min(SLICE_S, seconds))
            seconds -= SLICE_S


def most_annotators(machines: int, times: Times, seconds: float, balance: str) -> int:
    """The most annotators whose clicks take less than the goal, in steps of four a machine."""
    low, high = 1, 60  # steps
    while high - low > 1:
        middle = (low + high) // 2
        tally = Cluster(machines, 4 * middle * machines, times, seconds, balance).tally
        is_fine = not tally.refused and np.percentile(tally.clicks, 99) < GOAL_S
        low, high = (middle, high) if is_fine else (low, middle)
    return 4 * low * machines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--click", type=float, default=0.010, help="core seconds of a click")
    parser.add_argument("--encode", type=float, default=0.31, help="core seconds of an encode")
    parser.add_argument("--cores", type=int, default=2, help="of a machine")
    parser.add_argument("--balance", choices=("task", "fewest"), default="task")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--annotators", type=int, help="so many, on one machine, and no table")
    parser.add_argument("--plot", help="a PNG file to write")
    options = parser.parse_args()
    times = Times(options.click, options.encode, options.cores)
    print("| machines | annotators | clicks/s | click: p50, p99 | first: p50, p99 | Redis, MB/s |")
    print("|---|---|---|---|---|---|")
    rows = []
    for machines in (1,) if options.annotators else MACHINES:
        annotators = options.annotators or most_annotators(
            machines, times, options.seconds, options.balance
        )
        tally = Cluster(machines, annotators, times, options.seconds, options.balance).tally
        rate = (len(tally.clicks) + len(tally.first)) / options.seconds
        carried = EMBEDDING_MB * tally.shared / options.seconds
        rows.append((machines, rate))
        print(
            f"| {machines} | {annotators} | {rate:.0f} | {_both(tally.clicks)} "
            f"| {_both(tally.first)} | {carried:.0f} |",
            flush=True,
        )
    if options.plot:
        plot(rows, options.plot)


def _both(seconds: list[float]) -> str:
    return ", ".join(f"{1000 * v:.0f} ms" for v in np.percentile(seconds, [50, 99]))


def plot(rows: list[tuple[int, float]], path: str) -> None:
    import matplotlib as mpl  # noqa: PLC0415 (for the plot alone)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    machines, rates = zip(*rows, strict=True)
    figure, axes = plt.subplots(figsize=(6, 3.5), dpi=130)
    axes.plot(machines, [rates[0] * n for n in machines], color="#d0d7de", label="in proportion")
    axes.plot(machines, rates, marker="o", color="#1f6feb", label="the model")
    axes.set_xlabel("machines of 2 cores")
    axes.set_ylabel(f"clicks/s, 99 % of them within {1000 * GOAL_S:.0f} ms")
    axes.set_ylim(0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
