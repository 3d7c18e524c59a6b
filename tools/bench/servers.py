"""The servers that `make bench` asks, and how it asks them."""

from __future__ import annotations

import functools
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import orjson
import requests

from sam_backend.formats import rle
from tools.folders import ROOT

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="A"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="A"/></KeyPointLabels>
<RectangleLabels name="box" toName="image" smart="true"><Label value="A"/></RectangleLabels>
</View>"""


@dataclass
class Backend:
    """One of the servers, with requests like Label Studio's."""

    name: str
    url: str
    pid: int
    cache: Path | None = None
    _task: int = 1
    _clicks: Iterator[int] = field(default_factory=count)

    def click(
        self,
        image: str,
        points: Sequence[tuple[float, float]] = (),
        box: tuple[float, float, float, float] | None = None,
        masks: int = 0,
        name: str = "",
    ) -> float:
        """Milliseconds for the whole request. Prompts with the same name belong to one object."""
        body = self.body(image, points, box, masks, name)
        started = time.perf_counter()
        self._post(body)
        return 1000 * (time.perf_counter() - started)

    def mask(self, image: str, points: Sequence[tuple[float, float]]) -> object:
        """The RLE of the answer, None for an error."""
        response = self._post(self.body(image, points, None, 0))
        try:
            return orjson.loads(response.content)["results"][0]["result"][0]["value"]["rle"]
        except (ValueError, LookupError, TypeError):
            return None

    def answered(
        self, image: str, points: Sequence[tuple[float, float]], name: str, task: int
    ) -> tuple[float, str]:
        """Milliseconds for a click in a task, and what came of it: "mask", or what else."""
        body = self.body(image, points, None, 0, name, task)
        started = time.perf_counter()
        response = self._post(body)
        took = 1000 * (time.perf_counter() - started)
        if not response.ok:
            return took, f"status {response.status_code}"
        results = orjson.loads(response.content).get("results") or [{}]
        return took, "mask" if results[0].get("result") else "no mask"

    def next_task(self) -> None:
        """Later clicks are in another task."""
        self._task += 1

    def open(self, image: str, task: int | None = None) -> None:
        body = orjson.loads(self.body(image, [], None, 0, "", task))
        body["params"]["context"] = None
        self._post(orjson.dumps(body))

    def stages(self) -> dict[str, float]:
        """The total seconds in each stage, and in requests for clicks."""
        text = requests.get(self.url + "/metrics", timeout=60).text
        found = re.findall(r'^sam_stage_seconds_sum\{stage="(\w+)"\} (\S+)', text, re.MULTILINE)
        whole = re.findall(
            r'^sam_request_seconds_sum\{route="/predict"\} (\S+)', text, re.MULTILINE
        )
        return {name: float(value) for name, value in found} | {"request": float(whole[0])}

    def busy(self) -> float:
        """Seconds that processors worked for the server so far."""
        ticks = 0
        for process in self.processes():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def usage(self) -> tuple[float, float]:
        """Resident memory of the worker and bytes in the cache folder, in MB."""
        resident = 0
        for process in self.processes():
            status = Path(f"/proc/{process}/status").read_text()
            resident = max(resident, int(re.findall(r"VmRSS:\s+(\d+)", status)[0]))
        disk = sum(p.stat().st_size for p in self.cache.rglob("*")) if self.cache else 0
        return resident / 1024, disk / 2**20

    def processes(self) -> list[int]:
        """The server and its workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [self.pid, *map(int, children.split())]

    def _post(self, body: bytes) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        return requests.post(self.url + "/predict", body, headers=headers, timeout=300)

    def body(
        self,
        image: str,
        points: Sequence[tuple[float, float]],
        box: tuple[float, float, float, float] | None = None,
        masks: int = 0,
        name: str = "",
        task: int | None = None,
        pixels: tuple[int, int] = (2241, 1500),
    ) -> bytes:
        """The content of a request. `masks` are for pictures of the usual size."""
        click = name or next(self._clicks)
        size = {"original_width": pixels[0], "original_height": pixels[1], "to_name": "image"}
        prompts = [
            size
            | {
                "id": f"point-{click}-{n}",
                "type": "keypointlabels",
                "is_positive": True,
                "value": {"x": x, "y": y, "keypointlabels": ["A"]},
            }
            for n, (x, y) in enumerate(points)
        ]
        if box is not None:
            place = dict(zip(("x", "y", "width", "height"), box, strict=True))
            prompts.append(
                size
                | {
                    "id": f"box-{click}",
                    "type": "rectanglelabels",
                    "value": place | {"rectanglelabels": ["A"]},
                }
            )
        regions = [
            size
            | {
                "id": f"mask-{n}",
                "type": "brushlabels",
                "value": {"format": "rle", "rle": _mask(), "brushlabels": ["A"]},
            }
            for n in range(masks)
        ]
        content = {
            "id": self._task if task is None else task,
            "data": {"image": image},
            "annotations": [{"id": 1, "result": regions}] if regions else [],
        }
        context = {"result": prompts}
        return orjson.dumps(
            {
                "tasks": [content],
                "project": "1.1",
                "label_config": CONFIG,
                "params": {"context": context},
            }
        )


@functools.cache
def _mask() -> list[int]:
    """A ragged mask of some 20 kB."""
    rows, columns = np.mgrid[:1500, :2241]
    edge = 300 + 40 * np.sin(rows / 3) + 30 * np.cos(columns / 5)
    return rle.encode(np.hypot(rows - 700, columns - 1100) < edge)


@contextmanager
def ours(folder: Path, **settings: str) -> Iterator[Backend]:
    environ = {"MODEL_DIR": str(folder), "LOG_LEVEL": "WARNING", "HOST": "127.0.0.1"}
    environ |= {"ALLOWED_IMAGE_HOSTS": "127.0.0.1"}  # where `Pictures` is
    weights = os.environ.get("MOBILESAM_CHECKPOINT") or str(ROOT / "models/mobile_sam")
    command = [sys.executable, str(ROOT / "_wsgi.py")]
    environ |= {"MOBILESAM_CHECKPOINT": weights} | settings
    with _server("ours", command, environ) as backend:
        backend.cache = folder / "cache"
        yield backend


@contextmanager
def peer(python: str, checkpoint: str) -> Iterator[Backend]:
    options = ["--worker-class", "gthread", "--threads", "8", "--timeout", "300"]
    # Started elsewhere, for here lies our own gunicorn.conf.py.
    options += ["--pythonpath", str(ROOT), "--bind"]
    command = [python, "-m", "gunicorn", "tools.bench.peer:app", *options]
    with _server("peer", command, {"CHECKPOINT": checkpoint}) as backend:
        yield backend


@contextmanager
def _server(name: str, command: list[str], environ: dict[str, str]) -> Iterator[Backend]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*command, f"127.0.0.1:{port}"] if name == "peer" else command,
        env=os.environ | environ | {"PORT": str(port)},
        cwd=ROOT if name == "ours" else ROOT / "tools",
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("BENCH_LOGS") else subprocess.DEVNULL,
    )
    backend = Backend(name, f"http://127.0.0.1:{port}", process.pid)
    try:
        for _ in range(1200):
            if process.poll() is not None:
                sys.exit(f"the {name} server ended: set BENCH_LOGS=1 to see its log")
            try:
                requests.get(backend.url + "/health", timeout=120)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield backend
    finally:
        process.terminate()
        process.wait(30)
