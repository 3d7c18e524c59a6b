"""Everything mode beside `segment_anything`'s automatic mask generator, on the same weights.

    python -m tools.quality.everything [FOLDER] [--images N]

Both get the same pictures in turn, with the same grid. The results are the time for a picture, and
the share of its objects that match one of at most 100 proposals. On a busy machine, processor time
says more than clock time. FOLDER is the same as for `tools.quality`.
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

from sam_backend.clicks import everything
from sam_backend.engines.protocol import Engine
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels
from tools.folders import ROOT, SHARED
from tools.quality.mask_scores import iou
from tools.quality.rules import served
from tools.quality.targets import Target, drawn_targets, targets_in

Took = tuple[float, float]  # seconds of the clock, and of all processors


@dataclass
class Score:
    """The results of one side."""

    name: str
    took: list[Took] = field(default_factory=list)
    proposals: list[int] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)  # of each object with its best proposal

    def add(self, took: Took, masks: npt.NDArray[np.bool_], truths: list[Mask]) -> None:
        self.took.append(took)
        self.proposals.append(len(masks))
        self.ious += [max((iou(mask, truth) for mask in masks), default=0.0) for truth in truths]

    def row(self) -> str:
        seconds, busy = np.mean(self.took, axis=0)
        shares = [np.mean(np.array(self.ious) >= least) for least in (0.5, 0.75)]
        return (
            f"| {self.name} | {seconds:.1f} s | {busy:.1f} s | {shares[0]:.2f} "
            f"| {shares[1]:.2f} | {np.mean(self.ious):.3f} | {np.mean(self.proposals):.0f} |"
        )


class Peer:
    """The other generator, in its own process."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder

    def propose(self, pixels: Pixels) -> tuple[Took, npt.NDArray[np.bool_]]:
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
            sys.exit("the other side ended: see its output above")
        height, width = pixels.shape[:2]
        bits = np.load(self._folder / "peer.npy")
        masks = np.unpackbits(bits, axis=-1, count=height * width).reshape(-1, height, width)
        seconds, busy = json.loads(line)
        return (seconds, busy), masks.astype(bool)


@contextmanager
def peer(python: Path, checkpoint: Path, crops: int) -> Iterator[Peer]:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python), "-W", "ignore", "-m", "tools.quality.everything_peer"]
        process = subprocess.Popen(
            [*command, str(checkpoint.resolve()), folder, str(crops)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Peer(process, Path(folder))
        finally:
            process.kill()
            process.wait()


def ours(engine: Engine, pixels: Pixels, crops: int) -> tuple[Took, npt.NDArray[np.bool_]]:
    """Seconds, and masks (N, H, W)."""
    started, busy = time.perf_counter(), time.process_time()
    embedding = engine.encode(pixels)
    found = everything.proposals(engine, embedding, crops=crops, pixels=lambda: pixels)
    masks = [proposal.mask for proposal in found]
    took = time.perf_counter() - started, time.process_time() - busy
    return took, np.array(masks, bool).reshape(-1, *pixels.shape[:2])


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
    name, engine = served()
    here, there = Score(f"here: {name}"), Score("segment_anything")
    with peer(options.peer_python, options.checkpoint, options.crops) as other:
        for objects in pictures(options.folder, options.images):
            pixels = objects[0].image
            truths = [target.truth for target in objects]
            here.add(*ours(engine, pixels, options.crops), truths)
            there.add(*other.propose(pixels), truths)
            print(objects[0].image_name, here.took[-1], there.took[-1], file=sys.stderr, flush=True)
    ratio = np.array(there.took) / np.array(here.took)
    print(f"\n{len(ratio)} pictures, {len(here.ious)} objects\n")
    print("| | a picture | processors | recall at IoU .5 | at .75 | mean best IoU | proposals |")
    print("|---|---|---|---|---|---|---|")
    print(there.row(), here.row(), sep="\n")
    for name, column in zip(("clock", "processors"), ratio.T, strict=True):
        spread = f"{column.min():.1f} to {column.max():.1f}"
        print(f"\n{np.median(column):.1f} x as fast by the {name} ({spread})")


if __name__ == "__main__":
    main()
