"""Runs several machines: three back ends, a Redis, a proxy, and many annotators.

    python -m tools.soak.machines [--annotators 200] [--seconds 240]

It needs root, iproute2, redis-server and haproxy. The machines are network namespaces on this one,
so they share its processor. One back end is killed and comes back, another one is cut off and
joined again, and so is the Redis. It prints the outcomes of the clicks in each part, and how often
pictures were encoded.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import requests

from tools.bench.pictures import Pictures
from tools.bench.servers import ours
from tools.folders import ROOT
from tools.soak import machines_trace as trace
from tools.soak.clicks import Answer, ask
from tools.soak.machines_trace import Right, Step
from tools.soak.network import HOST, Machine, network
from tools.soak.verdicts import CUT, KINDS, kind

_BACKENDS = ("sam-1", "sam-2", "sam-3")
_ALONE = "right for the keypoint without its rectangle"
_PORT = 9090


@dataclass(frozen=True)
class _Part:
    """A part of the run, and what happens at its beginning."""

    name: str
    begin: Callable[[_Machines], object]


@dataclass
class _Tally:
    """What came of the clicks, by part."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # ms
    pictures: dict[int, str] = field(default_factory=dict)  # and in which part each one came
    encodes: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, part: str, result: str, took: float) -> None:
        with self.lock:
            self.counts[part][result] += 1
            self.times[part].append(took)


class _Machines:
    """The back ends, the Redis and the proxy, each on a machine of its own."""

    def __init__(self, at: dict[str, Machine], folder: Path) -> None:
        self._at = at
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._encodes: Counter[str] = Counter()  # of back ends that were killed
        self._last: Counter[str] = Counter()  # of the others, when they answered last
        self.part = ""

    @property
    def url(self) -> str:
        return f"http://{self._at['proxy'].address}:{_PORT}"

    def start(self) -> None:
        self._start("redis", ["redis-server", "--save", "", "--protected-mode", "no"])
        for name in _BACKENDS:
            self.start_backend(name)
        self._start("proxy", ["haproxy", "-f", str(ROOT / "deploy" / "haproxy.cfg")])
        for url in (*map(self._backend, _BACKENDS), self.url):
            _wait_for(url)

    def start_backend(self, name: str) -> None:
        core = str(_BACKENDS.index(name) % (os.cpu_count() or 1))
        environ = {
            "HOST": self._at[name].address,
            "PORT": str(_PORT),
            "MODEL_DIR": str(self._folder / name),
            "MOBILESAM_CHECKPOINT": str(ROOT / "models" / "mobile_sam"),
            "LABEL_STUDIO_URL": f"http://{HOST}",
            "ALLOWED_IMAGE_HOSTS": HOST,
            "CACHE_URL": f"redis://{self._at['redis'].address}:6379",
            "LOG_LEVEL": "WARNING",
        }
        # One core each: one encode and one decode at once.
        command = ["taskset", "-c", core, sys.executable, str(ROOT / "_wsgi.py")]
        self._start(name, command, environ)

    def kill(self, name: str) -> None:
        self._encodes[name] += self._misses(name)
        self._last[name] = 0
        os.killpg(self._running.pop(name).pid, signal.SIGKILL)

    def cut(self, name: str) -> None:
        self._at[name].cut()

    def join(self, name: str) -> None:
        self._at[name].join()

    def encodes(self) -> int:
        for name in set(_BACKENDS) & set(self._running):
            with contextlib.suppress(requests.RequestException):  # it is cut off, or starts
                self._last[name] = self._misses(name)
        return sum(self._encodes.values()) + sum(self._last.values())

    def end(self) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def _start(self, name: str, command: list[str], environ: dict[str, str] | None = None) -> None:
        self._running[name] = self._at[name].start(command, environ)

    def _backend(self, name: str) -> str:
        return f"http://{self._at[name].address}:{_PORT}"

    def _misses(self, name: str) -> int:
        text = requests.get(f"{self._backend(name)}/metrics", timeout=2).text
        found = re.search(r'^sam_cache_total\{tier="miss"\} (\S+)', text, re.MULTILINE)
        return int(float(found[1])) if found else 0


_PARTS = (
    _Part("all is well", lambda _: None),
    _Part("sam-1 is killed", lambda machines: machines.kill("sam-1")),
    _Part("sam-1 is back", lambda machines: machines.start_backend("sam-1")),
    _Part("sam-2 is cut off", lambda machines: machines.cut("sam-2")),
    _Part("sam-2 is back", lambda machines: machines.join("sam-2")),
    _Part("Redis is cut off", lambda machines: machines.cut("redis")),
    _Part("Redis is back", lambda machines: machines.join("redis")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annotators", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=280)
    parser.add_argument("--pictures", type=int, default=60)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        network("redis", "proxy", *_BACKENDS) as at,
        Pictures(Path(name) / "pictures", HOST) as served,
    ):
        addresses = [served.add(f"{n}.png", trace.image(n)) for n in range(options.pictures)]
        tasks = [trace.steps(number, address) for number, address in enumerate(addresses)]
        print(f"the right masks on {len(tasks)} pictures: one machine alone …", flush=True)
        with ours(Path(name) / "alone", ALLOWED_IMAGE_HOSTS=HOST) as alone:
            right = trace.right(alone.url, tasks)
        machines = _Machines(at, Path(name))
        try:
            machines.start()
            print(f"{options.annotators} annotators for {options.seconds:.0f} s …", flush=True)
            tally = _run(machines, tasks, right, options.annotators, options.seconds)
        finally:
            machines.end()
    _print(tally, options.seconds / len(_PARTS))
    wrong = sum(counts[name] for counts in tally.counts.values() for name in KINDS[1:])
    sys.exit(1 if wrong else 0)


def _run(
    machines: _Machines,
    tasks: Sequence[Sequence[Step]],
    right: Mapping[tuple[int, str], Right],
    annotators: int,
    seconds: float,
) -> _Tally:
    tally, begun, over = _Tally(), time.monotonic(), threading.Event()

    def annotate(number: int) -> None:
        dice, who = random.Random(number), f"{number}.1"  # noqa: S311 (pauses and tasks)
        over.wait(dice.uniform(0, trace.PAUSE_S[1]))
        for task in itertools.count(1000 * number):  # Label Studio's numbers are unique
            # All move on to new pictures together, so that each part has some.
            share = min(0.999, (time.monotonic() - begun) / seconds)
            steps = tasks[max(0, int(share * len(tasks)) - dice.randrange(4))]
            tally.pictures.setdefault(steps[0].picture, machines.part)
            trace.open_task(machines.url, steps[0], who, task)
            for step in steps:
                if over.wait(dice.uniform(*trace.PAUSES_S.get(step.name, trace.PAUSE_S))):
                    return
                part = machines.part
                started = time.perf_counter()
                answer = ask(machines.url, trace.body(step, who, task))
                took = 1000 * (time.perf_counter() - started)
                tally.add(part, _result(answer, right[step.picture, step.name]), took)

    threads = [threading.Thread(target=annotate, args=(n,)) for n in range(annotators)]
    for thread in threads:
        thread.start()
    for number, part in enumerate(_PARTS):
        time.sleep(max(0.0, begun + number * seconds / len(_PARTS) - time.monotonic()))
        if machines.part:
            tally.encodes[machines.part] = machines.encodes()
        machines.part = part.name
        part.begin(machines)
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
    tally.encodes[machines.part] = machines.encodes()
    over.set()
    for thread in threads:
        thread.join()
    return tally


def _result(answer: Answer, right: Right) -> str:
    if answer.status not in (0, 200):
        return f"HTTP {answer.status}"
    if answer.masks != right.joined.masks and answer.masks == right.alone.masks:
        return _ALONE
    return kind(answer, right.joined)


def _print(tally: _Tally, seconds: float) -> None:
    statuses = sorted(
        {name for counts in tally.counts.values() for name in counts if "HTTP" in name}
    )
    rows = (*KINDS, _ALONE, CUT, *statuses)
    head = ("part", "clicks/s", "p50, ms", "p99, ms", *rows, "new pictures", "encodes")
    print("\n| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    before = 0
    for part in _PARTS:
        counts, times = tally.counts[part.name], tally.times[part.name]
        cells = [f"{len(times) / seconds:.1f}"]
        cells += [f"{v:.0f}" for v in np.percentile(times, [50, 99])] if times else ["", ""]
        cells += [str(counts[name]) for name in rows]
        cells.append(str(list(tally.pictures.values()).count(part.name)))
        cells.append(str(tally.encodes[part.name] - before))
        before = tally.encodes[part.name]
        print(f"| {part.name} | " + " | ".join(cells) + " |")


def _wait_for(url: str) -> None:
    for _ in range(600):
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer: set BENCH_LOGS=1 to see why")


if __name__ == "__main__":
    main()
