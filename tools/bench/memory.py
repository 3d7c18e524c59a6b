"""The memory of each worker after clicks on new pictures, by the number of workers.

    python -m tools.bench.memory [--workers 1 2 4] [--points 8 24] [--parts]

RSS counts pages that workers share once for each of them, PSS divides them among the processes that
have them. So the PSS of all workers adds up to what the machine has to have. A worker that does
nothing for a minute gives memory back, so the last column is measured after that. `--points` prints
instead how the RSS of one worker grows with the points on one object. `--parts` opens the parts of
the model on OpenVINO in bf16 in this process, and prints the RSS after each.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx

from sam_backend import memory
from sam_backend.engines.click_decoder import ClickDecoder
from sam_backend.engines.graph import reader
from sam_backend.engines.graph.any_size_encoder import any_size
from tools.bench.pictures import Pictures, picture
from tools.bench.servers import Backend, ours
from tools.folders import ROOT

CLICKS_A_WORKER = 6
REST_S = 65.0  # longer than a model keeps the memory that it works in
WEIGHTS = ROOT / "models/mobile_sam"
ENCODED = (704, 1024)  # the part of the model's square that a 3:2 photo fills
LINES = ("Rss", "Pss", "Private_Dirty")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--points", type=int, nargs="+")
    parser.add_argument("--parts", action="store_true")
    options = parser.parse_args()
    if options.parts:
        _print_parts()
        return
    if options.points:
        _print_growth(options.points)
        return
    print(
        "| workers | RSS of each | PSS of each | private of each | PSS of all, with gunicorn "
        "| RSS of each at rest |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    for workers in options.workers:
        with (
            tempfile.TemporaryDirectory() as name,
            Pictures(Path(name) / "pictures") as pictures,
            ours(Path(name), WORKERS=str(workers)) as backend,
        ):
            _click(backend, pictures, workers)
            print(_row(backend, workers), flush=True)


def _print_growth(points: Sequence[int]) -> None:
    """The RSS of a worker after its first click, and after objects with more and more points."""
    print("| points | RSS |\n|---|---|", flush=True)
    with (
        tempfile.TemporaryDirectory() as name,
        Pictures(Path(name) / "pictures") as pictures,
        ours(Path(name), WORKERS="1") as backend,
    ):
        image = picture(pictures, 500)
        for count in range(1, max(points) + 1):
            backend.click(image, [(40.0 + n, 60.0) for n in range(count)])
            if count in (1, *points):
                _, worker = backend.processes()
                print(f"| {count} | {_megabytes(worker)['Rss']:.0f} |", flush=True)


def _print_parts() -> None:
    from sam_backend.engines.openvino_session import OpenVinoSession  # noqa: PLC0415 (optional)

    def report(name: str) -> None:
        memory.give_back()
        print(f"| {name} | {_megabytes(os.getpid())['Rss']:.0f} |", flush=True)

    def opened(model: onnx.ModelProto) -> OpenVinoSession:
        sessions.append(OpenVinoSession(model, "bf16"))
        return sessions[-1]

    def rest() -> None:
        for session in sessions:
            session.release_memory()

    sessions: list[OpenVinoSession] = []
    memory.share_one_arena()
    import sam_backend.server.app  # noqa: F401, PLC0415 (a worker has all of it)

    print("| after | RSS |\n|---|---|", flush=True)
    report("packages and runtimes")
    gives = reader.read_decoder(WEIGHTS / "decoder.onnx")
    decoder = ClickDecoder(gives.model, opened, gives.kind, gives.stability)
    del gives
    for points in (2, 3, 4):
        for with_mask in (False, True):
            decoder.example(points, with_mask=with_mask)()
    report("decodes of 1 to 3 points, with and without an earlier mask")
    rest()
    report("rest")
    encoder = any_size(onnx.load(WEIGHTS / "encoder.onnx"))
    session, sizes = opened(encoder.model), encoder.inputs(*ENCODED)
    del encoder
    pixels = np.zeros((1, 3, *ENCODED), np.float32)
    session.run(None, {session.get_inputs()[0].name: pixels, **sizes})
    report("an encode")
    rest()
    report("rest")


def _click(backend: Backend, pictures: Pictures, workers: int) -> None:
    """Clicks on new pictures, several at once, for all workers."""
    images = [picture(pictures, 500 + n) for n in range(CLICKS_A_WORKER * workers)]
    with ThreadPoolExecutor(2 * workers) as pool:
        list(pool.map(lambda image: backend.click(image, [(45.0, 60.0)]), images))


def _row(backend: Backend, workers: int) -> str:
    master, *children = backend.processes()
    of_workers = [_megabytes(process) for process in children]
    each = [round(statistics.median(one[line] for one in of_workers)) for line in LINES]
    total = sum(one["Pss"] for one in [_megabytes(master), *of_workers])
    time.sleep(REST_S)
    at_rest = statistics.median(_megabytes(process)["Rss"] for process in children)
    return f"| {workers} | {each[0]} | {each[1]} | {each[2]} | {total:.0f} | {at_rest:.0f} |"


def _megabytes(process: int) -> dict[str, float]:
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    return {line: int(found[line]) / 1024 for line in LINES}


if __name__ == "__main__":
    main()
