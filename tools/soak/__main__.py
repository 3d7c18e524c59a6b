"""`make soak`: many clicks beside slow clients, a killed worker, a full disk or a failing Redis.

make soak                                    all parts, under a minute each
make soak SOAK="clicks --clicks 10000"       one part
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.bench.pictures import Pictures
from tools.bench.servers import Backend, ours
from tools.soak import slow_clients
from tools.soak.clicks import ANNOTATORS, Click, ask, clicks, pictures, right_masks
from tools.soak.redis_server import RedisServer
from tools.soak.verdicts import CUT, FAILURES, KINDS, REFUSED, kind

Row = tuple[str, ...]

_OBJECTS = 5  # on each picture
_PATIENCE_S = 10.0  # with a click beside slow clients
_CUT_WITHIN_S = 3.0  # after a worker was killed


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.soak", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=PARTS, help="default: all parts")
    parser.add_argument("--clicks", type=int, default=300, help="in the parts clicks and disk")
    parser.add_argument("--seconds", type=float, default=12, help="beside slow clients")
    options = parser.parse_args()
    sound = [PARTS[part](options) for part in ([options.part] if options.part else PARTS)]
    sys.exit(0 if all(sound) else 1)


def _clicks(options: argparse.Namespace) -> bool:
    """Two workers, one of which is killed in the middle."""
    with _bench() as bench, ours(bench.folder("two"), WORKERS="2") as backend:
        result = bench.go(backend, options.clicks, kill_at=options.clicks // 2)
    _table(f"clicks: {ANNOTATORS} clients, 6 images, 2 workers, one killed", result.rows())
    return result.is_sound


def _disk(options: argparse.Namespace) -> bool:
    """The folder for embeddings is on a disk of 8 MB that is full."""
    with _bench() as bench, contextlib.ExitStack() as stack:
        full = bench.folder("full")
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(full)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"disk: skipped, because a small disk cannot be mounted: {done.stderr.strip()}")
            return True
        stack.callback(subprocess.run, ["umount", "--lazy", str(full)], check=True)
        with contextlib.suppress(OSError), (full / "ballast").open("wb") as ballast:
            while True:
                ballast.write(bytes(1 << 16))
        with ours(bench.folder("own"), WORKERS="2", CACHE_DIR=str(full), CACHE_MB="16") as backend:
            result = bench.go(backend, options.clicks)
    _table(f"disk: {ANNOTATORS} clients, 6 images, 2 workers, a full cache folder", result.rows())
    return result.is_sound


def _headers(options: argparse.Namespace) -> bool:
    return _beside_slow("headers: 60 clients, a byte of a header every 4 s", options, 60, 4.0)


def _bodies(options: argparse.Namespace) -> bool:
    return _beside_slow("bodies: 16 clients, a byte of a body every second", options, 16, 1.0)


def _redis(options: argparse.Namespace) -> bool:
    """Clicks beside a Redis that fails in every way."""
    if shutil.which("redis-server") is None:
        print("redis: skipped, because redis-server is not installed")
        return True
    rows: list[Row] = [("", "p50, ms", "p99, ms", "clicks", "failed")]
    with _bench() as bench, contextlib.ExitStack() as stack:
        server = RedisServer(bench.folder("redis"), "--maxmemory-policy", "noeviction")
        stack.callback(server.end)
        studio = {"LABEL_STUDIO_URL": "http://127.0.0.1"}
        alone = stack.enter_context(ours(bench.folder("alone"), **studio))
        shared = stack.enter_context(ours(bench.folder("shared"), CACHE_URL=server.url, **studio))
        states: list[tuple[str, Backend, Callable[[], object]]] = [
            ("no CACHE_URL", alone, lambda: None),
            ("it answers", shared, lambda: None),
            ("it is full", shared, lambda: server.limit("1mb")),
            ("it hangs", shared, server.hang),
            ("it is back", shared, server.go_on),
            ("it is killed", shared, server.kill),
            ("it is back, and empty", shared, server.start),
        ]
        wanted = clicks(bench.pictures, 1)
        for backend, click in itertools.product((alone, shared), wanted):
            ask(backend.url, click.body("warm"))
        failed = 0
        for name, backend, begin in states:
            begin()
            found = _latencies(backend, wanted, options.seconds)
            percentiles = [f"{v:.0f}" for v in np.percentile(found.times, (50, 99))]
            rows.append((name, *percentiles, str(len(found.times)), str(found.failed)))
            failed += found.failed
    _table("redis: one client, while the Redis of CACHE_URL fails", rows)
    return not failed


PARTS: Mapping[str, Callable[[argparse.Namespace], bool]] = {
    "clicks": _clicks,
    "headers": _headers,
    "bodies": _bodies,
    "disk": _disk,
    "redis": _redis,
}


def _beside_slow(title: str, options: argparse.Namespace, count: int, every_s: float) -> bool:
    """The time of a click alone, and beside clients that never finish."""
    start, drop = (slow_clients.HEADER, b"X") if count == 60 else (slow_clients.BODY, b" ")
    with _bench() as bench, ours(bench.folder("one")) as backend:
        wanted = clicks(bench.pictures, 1)
        for click in wanted:
            ask(backend.url, click.body("warm"))
        alone = _latencies(backend, wanted, options.seconds)
        port = int(backend.url.rpartition(":")[2])
        with slow_clients.senders(port, count, start, drop, every_s) as slow:
            time.sleep(2)
            beside = _latencies(backend, wanted, options.seconds)
    rows: list[Row] = [("", "alone", "beside")]
    for name, share in (("p50, ms", 50), ("p99, ms", 99)):
        cells = [f"{np.percentile(found.times, share):.0f}" for found in (alone, beside)]
        rows.append((name, *cells))
    rows.append(("clicks", str(len(alone.times)), str(len(beside.times))))
    rows.append(("failed", str(alone.failed), str(beside.failed)))
    rows.append(("slow clients disconnected", "", f"{slow.ended} of {slow.opened}"))
    _table(title, rows)
    return beside.failed == 0


@dataclass(frozen=True)
class _Latencies:
    times: list[float]  # ms
    failed: int


def _latencies(backend: Backend, wanted: list[Click], seconds: float) -> _Latencies:
    """The times of clicks, one after the other."""
    times, failed, until, number = list[float](), 0, time.monotonic() + seconds, 0
    while time.monotonic() < until or not times:
        started = time.perf_counter()
        answer = ask(backend.url, wanted[number % len(wanted)].body("timed"), _PATIENCE_S)
        times.append(1000 * (time.perf_counter() - started))
        failed += not answer.masks
        number += 1
    return _Latencies(times, failed)


@dataclass
class _Result:
    """The results of the clicks."""

    counts: Counter[str]
    seconds: float
    late: int  # connections that broke though no worker had just been killed

    def rows(self) -> list[Row]:
        rate = sum(self.counts.values()) / self.seconds
        found: list[Row] = [(name, str(self.counts[name])) for name in (*KINDS, *FAILURES)]
        found.append(("cut off, with no worker killed", str(self.late)))
        return [*found, ("clicks a second", f"{rate:.1f}")]

    @property
    def is_sound(self) -> bool:
        faults = sum(self.counts[name] for name in KINDS[1:])
        return not faults and not self.counts[REFUSED] and not self.late


@dataclass
class _Bench:
    """Served pictures, and folders for servers."""

    root: Path
    pictures: list[str]

    def folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir()
        return path

    def go(self, backend: Backend, count: int, kill_at: int | None = None) -> _Result:
        """Clicks of all annotators at once, compared with the masks of a fresh server."""
        wanted = clicks(self.pictures, _OBJECTS)
        with ours(self.folder("fresh")) as fresh:
            right = right_masks(fresh.url, wanted)
        order = np.random.default_rng(2).integers(len(wanted), size=count)
        counts, late, killed = Counter[str](), 0, -_CUT_WITHIN_S

        def one_annotator(who: int) -> list[tuple[str, float]]:
            """The result and the time of each click."""
            nonlocal killed
            found = []
            for number in range(who, count, ANNOTATORS):
                if number == kill_at:
                    os.kill(_a_worker(backend.pid), signal.SIGKILL)
                    killed = time.monotonic()
                answer = ask(backend.url, wanted[order[number]].body(f"{who}.1"))
                found.append((kind(answer, right[order[number]]), time.monotonic()))
            return found

        began = time.monotonic()
        with ThreadPoolExecutor(ANNOTATORS) as pool:
            found = [each for part in pool.map(one_annotator, range(ANNOTATORS)) for each in part]
        seconds = time.monotonic() - began
        for result, ended in found:
            counts[result] += 1
            late += result == CUT and not 0 <= ended - killed <= _CUT_WITHIN_S
        return _Result(counts, seconds, late)


def _a_worker(master: int) -> int:
    """A child of the server's first process."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(path.read_text().rpartition(")")[2].split()[1]) == master:
                return int(path.parent.name)
    raise RuntimeError("the server has no worker")


@contextlib.contextmanager
def _bench() -> Iterator[_Bench]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        served = stack.enter_context(Pictures(folder / "pictures"))
        yield _Bench(folder, pictures(served))


def _table(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    for name, *cells in rows:
        print(f"  {name:34}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
