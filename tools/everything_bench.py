"""Everything mode beside `segment_anything`'s automatic mask generator, on the same weights.

    python -m tools.everything_bench [FOLDER] [--images N]

Both look at the same pictures in turn, with the same grid: seconds for a picture, and the share of
its objects that one of at most 100 proposals matches. FOLDER is as for `tools.quality`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnx_sam import OnnxSam
from sam_backend.bulk import everything
from sam_backend.engine import Engine, Pixels
from tools.click_protocol import Mask, iou
from tools.quality import MODEL, Target, drawn_targets, targets_in

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@dataclass
class Score:
    """How one side does."""

    name: str
    seconds: list[float] = field(default_factory=list)
    proposals: list[int] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)  # of each object with its best proposal

    def add(self, seconds: float, masks: npt.NDArray[np.bool_], truths: list[Mask]) -> None:
        self.seconds.append(seconds)
        self.proposals.append(len(masks))
        self.ious += [max((iou(mask, truth) for mask in masks), default=0.0) for truth in truths]

    def row(self) -> str:
        shares = [np.mean(np.array(self.ious) >= least) for least in (0.5, 0.75)]
        return (
            f"| {self.name} | {np.mean(self.seconds):.1f} s | {shares[0]:.2f} | {shares[1]:.2f} "
            f"| {np.mean(self.ious):.3f} | {np.mean(self.proposals):.0f} |"
        )


class Peer:
    """The other generator, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder

    def propose(self, pixels: Pixels) -> tuple[float, npt.NDArray[np.bool_]]:
        """Seconds, and masks (N, H, W)."""
        picture = self._folder / "picture.png"
        Image.fromarray(pixels).save(picture)
        sent, answers = self._process.stdin, self._process.stdout
        if sent is None or answers is None:
            raise TypeError("the process was started without pipes")
        sent.write(f"{picture}\n")
        sent.flush()
        line = answers.readline()
        if not line:
            sys.exit("the other side ended, what it said is above")
        height, width = pixels.shape[:2]
        bits = np.load(self._folder / "peer.npy")
        masks = np.unpackbits(bits, axis=-1, count=height * width).reshape(-1, height, width)
        return float(json.loads(line)["seconds"]), masks.astype(bool)


@contextmanager
def peer(python: Path, checkpoint: Path, crops: int) -> Iterator[Peer]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(__file__).with_name("everything_peer.py")
        process = subprocess.Popen(
            [str(python), "-W", "ignore", str(script), str(checkpoint), folder, str(crops)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Peer(process, Path(folder))
        finally:
            process.kill()
            process.wait()


def ours(engine: Engine, pixels: Pixels, crops: int) -> tuple[float, npt.NDArray[np.bool_]]:
    """Seconds, and masks (N, H, W)."""
    started = time.perf_counter()
    embedding = engine.encode(pixels)
    found = everything.proposals(engine, embedding, crops=crops, pixels=lambda: pixels)
    masks = [proposal.mask for proposal in found]
    return time.perf_counter() - started, np.array(masks, bool).reshape(-1, *pixels.shape[:2])


def pictures(folder: Path | None, count: int) -> list[list[Target]]:
    """The objects of each picture, of pictures from all of the folder."""
    targets = drawn_targets() if folder is None else targets_in(folder, None)
    found = [list(group) for _, group in groupby(targets, key=lambda t: t.image_name)]
    return found[:: max(1, len(found) // count)][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--crops", type=int, default=0)
    parser.add_argument("--peer-python", type=Path, default=ROOT / ".venv-bench/bin/python")
    parser.add_argument("--checkpoint", type=Path, default=SHARED / "models/mobile_sam.pt")
    options = parser.parse_args()
    for needed in (options.peer_python, options.checkpoint):
        if not needed.exists():
            sys.exit(f"{needed} is missing (`make .venv-bench/ready` makes the environment)")
    engine = OnnxSam(MODEL / "encoder.onnx", MODEL / "decoder.onnx", "MobileSAM", "cpu")
    here, there = Score("here"), Score("segment_anything")
    with peer(options.peer_python, options.checkpoint, options.crops) as other:
        for objects in pictures(options.folder, options.images):
            pixels = objects[0].image
            truths = [target.truth for target in objects]
            here.add(*ours(engine, pixels, options.crops), truths)
            there.add(*other.propose(pixels), truths)
            took = f"{here.seconds[-1]:.1f} s here, {there.seconds[-1]:.1f} s there"
            print(f"{objects[0].image_name}: {took}", file=sys.stderr, flush=True)
    ratio = np.array(there.seconds) / np.array(here.seconds)
    print(f"\n{len(ratio)} pictures, {len(here.ious)} objects\n")
    print("| | a picture | recall at IoU .5 | at .75 | mean best IoU | proposals |")
    print("|---|---|---|---|---|---|")
    print(there.row(), here.row(), sep="\n")
    print(f"\n{np.median(ratio):.1f} x as fast ({ratio.min():.1f} to {ratio.max():.1f})")


if __name__ == "__main__":
    main()
