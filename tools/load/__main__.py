"""Many annotators at once: how long a click takes, by the number of workers.

    python -m tools.load [--annotators 64] [--seconds 60] [--workers 1 2]

Each annotator opens a picture, looks at it, clicks three times on each of four objects, and goes
on to the next picture, with a pause of 2 to 4 seconds before each of these. Everything runs on
this machine, so the annotators take some of its time as well.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tools.bench.pictures import SIZE, Pictures, picture
from tools.bench.servers import Backend, ours
from tools.load.pace import CLICKS, OBJECTS, PAUSE_S


@dataclass
class Tally:
    """What the clicks of all annotators took, milliseconds, and what came of them."""

    first: list[float] = field(default_factory=list)  # on a picture
    later: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def row(self, workers: int, seconds: float) -> str:
        answered = sum(self.outcomes.values())
        refused = ", ".join(f"{n} {what}" for what, n in self.outcomes.items() if what != "mask")
        return (
            f"| {workers} | {answered / seconds:.1f} | {_percentiles(self.first)} "
            f"| {_percentiles(self.later)} | {refused or 'none'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.load", description=__doc__)
    parser.add_argument("--annotators", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(f"{options.annotators} annotators, {len(os.sched_getaffinity(0))} cores, {SIZE} pixels")
    print("milliseconds: median, 95 %, 99 %\n")
    print("| workers | clicks/s | first click on a picture | later clicks | without a mask |")
    print("|---|---|---|---|---|", flush=True)
    for workers in options.workers:
        with (
            tempfile.TemporaryDirectory() as name,
            Pictures(Path(name) / "pictures") as pictures,
            ours(Path(name), WORKERS=str(workers)) as backend,
        ):
            tally = simulated(backend, pictures, options.annotators, options.seconds)
            print(tally.row(workers, options.seconds), flush=True)


def simulated(backend: Backend, pictures: Pictures, annotators: int, seconds: float) -> Tally:
    """The clicks of all annotators within a time."""
    # Drawn before the clicks, because drawing takes time on this machine.
    images = [picture(pictures, 100 + n) for n in range(2 * annotators)]
    backend.click(images[0], [(50.0, 50.0)])  # opens the model
    tally, lock = Tally(), threading.Lock()
    begin = time.monotonic() + PAUSE_S[1]
    end = begin + seconds
    threads = [
        threading.Thread(
            target=_annotate, args=(backend, images[n::annotators], n, end, tally, lock)
        )
        for n in range(annotators)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def _annotate(
    backend: Backend,
    images: Sequence[str],
    number: int,
    end: float,
    tally: Tally,
    lock: threading.Lock,
) -> None:
    dice = random.Random(number)  # noqa: S311 (pauses, and places to click)

    def pause() -> bool:
        time.sleep(dice.uniform(*PAUSE_S))
        return time.monotonic() < end

    time.sleep(dice.uniform(0, PAUSE_S[1]))  # they do not come all at once
    for task in range(number * 10_000, number * 10_000 + 10_000):
        image = images[task % len(images)]
        backend.open(image, task)
        for object_ in range(OBJECTS):
            points: list[tuple[float, float]] = []
            for click in range(CLICKS):
                if not pause():
                    return
                points.append((dice.uniform(10, 90), dice.uniform(10, 90)))
                took, outcome = backend.answered(image, points, f"{task}-{object_}", task)
                with lock:
                    is_first = object_ == click == 0
                    (tally.first if is_first else tally.later).append(took)
                    tally.outcomes[outcome] += 1


def _percentiles(values: Sequence[float]) -> str:
    if not values:
        return "none"
    return ", ".join(f"{value:.0f}" for value in np.percentile(values, [50, 95, 99]))


if __name__ == "__main__":
    main()
