"""`make bench`: compares this back end with the usual one, case by case, in one run.

Requests go to both in turn, so that a busy machine slows both equally. Read the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np

from tools.bench.pictures import SIZE, Pictures, picture
from tools.bench.servers import Backend, ours, peer
from tools.folders import ROOT, SHARED

# Multiplications and additions of the mask decoder: as exported, and rebuilt for clicks.
EXPORTED_GFLOP, REBUILT_GFLOP = 3.5, 1.7

Case = Callable[[Backend], float]


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of each warm case")
    parser.add_argument("--cold", type=int, default=4, help="rounds of each case with an encode")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="open N images; memory")
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-bench/bin/python"))
    parser.add_argument("--checkpoint", default=str(SHARED / "models/mobile_sam.pt"))
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pictures = stack.enter_context(Pictures(folder / "pictures"))
        backends = [stack.enter_context(ours(folder))]
        if Path(options.peer_python).exists() and Path(options.checkpoint).exists():
            backends.append(stack.enter_context(peer(options.peer_python, options.checkpoint)))
        else:
            print(
                f"without the peer: {options.peer_python} (`make .venv-bench/ready`) or "
                f"{options.checkpoint} is missing"
            )
        print(f"{len(os.sched_getaffinity(0))} cores, image {SIZE[0]} x {SIZE[1]}\n")
        _cases(backends, pictures, options.rounds, options.cold)
        with ours(folder / "alone") as alone:
            _annotators(backends, alone, pictures)
        _shares(backends[0], pictures)
        if options.soak:
            _soak(backends[0], pictures, options.soak)


def _cases(backends: Sequence[Backend], pictures: Pictures, rounds: int, cold: int) -> None:
    numbers, places = count(1000), count()
    fresh = iter(lambda: picture(pictures, next(numbers)), None)
    a, b = (picture(pictures, n) for n in (1, 2))
    three = [(45.0, 60.0), (50.0, 55.0), (41.0, 62.0)]
    print(f"{'':42}{'peer ms':>24}{'ours ms':>22}{'ratio':>22}{'of processors':>15}")

    # Every click is at another place, because a server remembers the answers it gave.
    def moved() -> float:
        return next(places) / 100

    def warm(backend: Backend, masks: int = 0) -> float:
        return [backend.click(a, [(45 + moved(), 60)], masks=masks) for _ in range(2)][-1]

    def boxed(backend: Backend) -> float:
        return [backend.click(a, box=(30 + moved(), 40, 30, 35)) for _ in range(2)][-1]

    def third(backend: Backend) -> float:
        name, aside = f"object-{next(numbers)}", moved()
        points = [(x + aside, y) for x, y in three]
        return [backend.click(a, points[:n], name=name) for n in (1, 2, 3)][-1]

    def switching(backend: Backend) -> float:
        return [backend.click(image, [(45 + moved(), 60)]) for image in (a, b)][-1]

    for backend in backends:
        switching(backend)
    _row("warm click, one point", backends, rounds, warm)
    _row("warm click, box", backends, rounds, boxed)
    _row("warm click, the 3rd on an object", backends, rounds, third)
    _row("warm click, 100 masks in the task", backends, rounds, lambda s: warm(s, masks=100))
    _row("switching between cached images", backends, cold, switching)
    _paired_images("cold click", backends, cold, fresh, 0.0)
    _paired_images("first click 1.5 s after opening", backends, cold, fresh, 1.5)


def _paired_images(
    name: str, backends: Sequence[Backend], rounds: int, images: Iterator[str], ahead: float
) -> None:
    """A row in which each round has a new image."""
    current = {"image": ""}

    def case(backend: Backend) -> float:
        if backend is backends[0]:
            current["image"] = next(images)
        if ahead:
            backend.open(current["image"])
            time.sleep(ahead)
        return backend.click(current["image"], [(45.0, 60.0)])

    _row(name, backends, rounds, case)


def _row(name: str, backends: Sequence[Backend], rounds: int, case: Case) -> None:
    for backend in backends:
        backend.next_task()
    times: list[list[float]] = []
    busy = [0.0 for _ in backends]
    for _ in range(rounds):
        times.append([])
        for n, backend in enumerate(backends):
            before = backend.busy()
            times[-1].append(case(backend))
            busy[n] += backend.busy() - before
    own = [row[0] for row in times]
    cells = ["", _spread(own), "", ""]
    if len(backends) > 1:
        theirs = [row[1] for row in times]
        ratios = [t / o for o, t in zip(own, theirs, strict=True)]
        work = f"{busy[1] / max(busy[0], 0.01):.1f}"
        cells = [_spread(theirs), _spread(own), _spread(ratios, "{:.1f}"), work]
    print(f"{name:42}{cells[0]:>24}{cells[1]:>22}{cells[2]:>22}{cells[3]:>15}", flush=True)


def _spread(values: Sequence[float], shape: str = "{:.0f}") -> str:
    """The median and the quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return " ".join((shape.format(middle), f"({shape.format(low)} to {shape.format(high)})"))


def _annotators(backends: Sequence[Backend], alone: Backend, pictures: Pictures) -> None:
    """Eight at once on six images: how many answers a second, and how many are the right ones.

    Our right ones come from another server, because a server remembers the answers it gave.
    """
    images = [picture(pictures, n) for n in range(1, 7)]
    clicks = [(images[n % 6], [(20.0 + n, 30.0 + n % 40)]) for n in range(48)]
    for backend in reversed(backends):
        # One image after the other, for the peer's sake.
        asked = alone if backend is backends[0] else backend
        expected = {n: asked.mask(*clicks[n]) for n in sorted(range(48), key=lambda n: n % 6)}
        for image in images:
            backend.click(image, [(90.0, 90.0)])  # all are seen before
        started = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: backend.mask(*clicks[n]), range(48)))  # noqa: B023
        rate = 48 / (time.perf_counter() - started)
        right = sum(
            answer == expected[n] and answer is not None for n, answer in enumerate(answers)
        )
        print(f"8 annotators, 6 images, 48 clicks, {backend.name}: {rate:.1f}/s, {right} right")


def _shares(backend: Backend, pictures: Pictures) -> None:
    """Where the time of a warm click goes, and what the decoder's arithmetic alone would take."""
    image = picture(pictures, 1)
    backend.click(image, [(60.0, 45.0)])
    before = backend.stages()
    whole = [backend.click(image, [(60.0 + n / 10, 45.0)]) for n in range(20)]
    after = backend.stages()
    print(f"\na warm click, {statistics.median(whole):.1f} ms:")
    known = 0.0
    for stage in after:
        share = 1000 * (after[stage] - before.get(stage, 0.0)) / len(whole)
        if share > 0.01 and stage != "request":
            known += share
            print(f"  {stage:20}{share:6.1f} ms")
    request = 1000 * (after["request"] - before["request"]) / len(whole)
    print(f"  {'rest of the request':20}{request - known:6.1f} ms")
    print(f"  {'outside of it':20}{statistics.mean(whole) - request:6.1f} ms")
    rate = _gemm_gflops()
    print(
        f"matrix products run at {rate:.0f} GFLOP/s here: {1000 * REBUILT_GFLOP / rate:.0f} ms of "
        f"arithmetic a click ({1000 * EXPORTED_GFLOP / rate:.0f} ms with the exported decoder)"
    )


def _gemm_gflops() -> float:
    side, best = 1024, 0.0
    a = np.ones((side, side), np.float32)
    for _ in range(20):
        started = time.perf_counter()
        a @ a
        best = max(best, 2 * side**3 / (time.perf_counter() - started) / 1e9)
    return best


def _soak(backend: Backend, pictures: Pictures, images: int) -> None:
    """Memory and disk while many images are opened."""
    print(f"\n{'images':>12}{'memory MB':>12}{'disk MB':>10}")
    for n in range(images):
        backend.click(picture(pictures, 10_000 + n), [(45.0, 60.0)])
        if n % max(1, images // 10) == 0 or n == images - 1:
            memory, disk = backend.usage()
            print(f"{n + 1:>12}{memory:>12.0f}{disk:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
