"""How long MobileSAM takes on this CPU in each arithmetic, and which one the back end chooses.

    python -m tools.bench.precision [--threads 2 4] [--models models/mobile_sam] [--rounds 9]

All of them run in turn in one process, so that a busy machine slows them alike. It needs numpy,
opencv-python-headless, pillow, onnx, onnxruntime and openvino, but no server and no network.
ONEDNN_MAX_CPU_ISA=AVX2 (or AVX512_CORE, AVX512_CORE_BF16) limits OpenVINO's instructions.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import re
import statistics
import time
from pathlib import Path

from sam_backend.cores import cores
from sam_backend.engines.arithmetic import ONNX_F32, OPENVINO_BF16, OPENVINO_F32
from sam_backend.engines.fastest import LEAST_GAIN, decided
from sam_backend.engines.timing import Times, decodes, encodes
from tools.folders import ROOT

TELLING = re.compile(r"avx2|avx512f|avx512_bf16|avx512_vnni|avx_vnni|amx_\w+|avx512_fp16")
PHOTO = (704, 1024)  # rows and columns of the model's square that a photo of 3:2 takes
AMONG = (OPENVINO_F32, OPENVINO_BF16, ONNX_F32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[min(2, cores())])
    parser.add_argument("--models", type=Path, default=ROOT / "models/mobile_sam")
    parser.add_argument("--rounds", type=int, default=9, help="of encodes; four times the decodes")
    options = parser.parse_args()
    among = [each for each in AMONG if importlib.util.find_spec(each.runtime) or each == ONNX_F32]
    print(f"{_cpu()}, {cores()} cores")
    for package in ("onnxruntime", "openvino"):
        if importlib.util.find_spec(package):
            print(f"{package} {importlib.metadata.version(package)}")
    if limit := os.environ.get("ONEDNN_MAX_CPU_ISA"):
        print(f"ONEDNN_MAX_CPU_ISA={limit}")
    encoder, decoder = options.models / "encoder.onnx", options.models / "decoder.onnx"
    for threads in options.threads:
        # What the server measures at its first start, and then what it stands for.
        short = {"encode": encodes(encoder, among), "decode": decodes(decoder, among)}
        rounds, wall = options.rounds, time.perf_counter
        photo = encodes(encoder, among, threads, PHOTO, rounds, most_s=600, clock=wall)
        many = decodes(decoder, among, threads, 4 * rounds, most_s=600, clock=wall)
        chosen = decided(
            {part: {str(a): t for a, t in times.items()} for part, times in short.items()}, among
        )
        print(f"\n{threads} threads; milliseconds, median (least to most)\n")
        print("| | small encode, 1 thread | decode, 1 thread | encode, 3:2 | decode |")
        print("|---|---|---|---|---|")
        for each in among:
            columns = (short["encode"], short["decode"], photo, many)
            cells = [_cell(times, each) for times in columns]
            print(f"| {each} | {' | '.join(cells)} |")
        print(f"\nchosen: encode in {chosen.encode}, decode in {chosen.decode}")
        print(f"(others have to be {LEAST_GAIN} times as fast as {among[0]})", flush=True)


def _cell(times: Times, arithmetic: object) -> str:
    found = {str(known): seconds for known, seconds in times.items()}.get(str(arithmetic))
    if not found:
        return "not on this CPU"
    low, middle, high = min(found), statistics.median(found), max(found)
    return f"{1000 * middle:.1f} ({1000 * low:.1f} to {1000 * high:.1f})"


def _cpu() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "an unknown CPU"
    facts = dict(re.findall(r"^(\w[\w ]*?)\s*: (.*)$", info.split("\n\n", 1)[0], re.MULTILINE))
    flags = sorted(set(filter(TELLING.fullmatch, facts.get("flags", "").split())))
    name = facts.get("model name", "a CPU")
    return (
        f"{name} (family {facts.get('cpu family')}, model {facts.get('model')}; {' '.join(flags)})"
    )


if __name__ == "__main__":
    main()
