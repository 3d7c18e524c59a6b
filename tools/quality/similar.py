"""Measures the search for the rest of a kind: from one example, from three, and after rejections.

    python -m tools.quality.similar FOLDER [--half 0|1] [--cache FOLDER]

FOLDER is as for `tools.quality`. Its index.json must list all objects of a label that a picture
shows, because every other mask counts as wrong. F1, precision and recall are for masks with an IoU
of at least .5, without the examples. Saved clicks are the right masks minus the wrong ones, as
a share of the objects to find: a right mask saves a click, and a wrong one costs one. `--half`
measures every second picture of each domain: choose thresholds on one half, and report the other
half. The time is processor time.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam_backend.clicks import similar
from sam_backend.clicks.everything import SPECK, Proposal
from sam_backend.engines.frame import LOW_RES_SIDE, Floats, Frame
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask
from tools.quality.mask_scores import iou
from tools.quality.rules import served
from tools.quality.targets import Target, embed, targets_in

SAME = 0.5  # intersection over union
FEWEST = 4  # objects in a picture, for three examples leave one to find
STARTS = 3  # examples to begin with, of each picture


@dataclass(frozen=True)
class Picture:
    """A picture with all objects of one label."""

    domain: str
    name: str
    targets: list[Target]


@dataclass(frozen=True)
class Outcome:
    """One search: how many are right, of how many offered and wanted, and what it took."""

    right: int
    offered: int
    wanted: int
    decodes: int
    seconds: float  # of all processors

    @property
    def f1(self) -> float:
        return 2 * self.right / max(1, self.offered + self.wanted)


class Counting:
    """An engine that counts its decodes."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.facts, self.encode = engine.name, engine.facts, engine.encode
        self._engine, self.decodes = engine, 0

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        self.decodes += 1
        return self._engine.decode(embedding, points, labels, box, mask_input)


def pictures(targets: Iterator[Target], half: int | None) -> Iterator[Picture]:
    """The pictures that show enough objects of a label; of each domain every second one."""
    groups: dict[tuple[str, str], list[Target]] = defaultdict(list)
    for target in targets:
        groups[target.domain, target.image_name].append(target)
    seen: Counter[str] = Counter()
    for (domain, name), members in groups.items():
        if len(members) >= FEWEST:
            seen[domain] += 1
            if half is None or (seen[domain] - 1) % 2 == half:
                yield Picture(domain, name, members)


def low_res(mask: Mask) -> Mask:
    """A mask of the image in the low-res frame (256, 256)."""
    return Frame(*mask.shape).sample(mask)


def right_ones(found: Sequence[Proposal], truths: Sequence[Mask]) -> list[bool]:
    """Which proposals are an object; each object counts once."""
    left = list(truths)
    marks = []
    for proposal in found:
        overlaps = [iou(proposal.mask, truth) for truth in left]
        best = int(np.argmax(overlaps)) if overlaps else -1
        marks.append(best >= 0 and overlaps[best] >= SAME)
        if marks[-1]:
            del left[best]
    return marks


def measure(engine: Engine, picture: Picture, start: int, cache: Path | None) -> dict[str, Outcome]:
    """One example, three examples, and one example with the wrong answers as counter-examples."""
    counting = Counting(engine)
    embedding = embed(engine, picture.targets[0].image, cache)
    truths = [target.truth for target in picture.targets if low_res(target.truth).sum() >= SPECK]
    order = np.random.default_rng(zlib.crc32(picture.name.encode())).permutation(len(truths))
    order = np.roll(order, -start)

    def search(
        examples: Sequence[Mask], wanted: Sequence[Mask], counter: Sequence[Mask] = ()
    ) -> tuple[Outcome, list[Mask], list[Mask]]:
        """The outcome, and the masks that are right and wrong."""
        before, started = counting.decodes, time.process_time()
        found = list(similar.rest(counting, embedding, _stacked(examples), _stacked(counter)))
        seconds = time.process_time() - started
        marks = right_ones(found, wanted)
        right = [each.mask for each, mark in zip(found, marks, strict=True) if mark]
        wrong = [each.mask for each, mark in zip(found, marks, strict=True) if not mark]
        took = counting.decodes - before, seconds
        return Outcome(len(right), len(found), len(wanted), *took), right, wrong

    first, wanted = [truths[order[0]]], [truths[i] for i in order[1:]]
    outcome, right, wrong = search(first, wanted)
    # The annotator keeps what is right, rejects the rest, and asks again.
    missing = [truth for truth in wanted if all(iou(mask, truth) < SAME for mask in right)]
    more, _, _ = search([*first, *right], missing, wrong)
    again = Outcome(
        outcome.right + more.right,
        outcome.right + more.offered,
        outcome.wanted,
        more.decodes,
        more.seconds,
    )
    outcomes = {"1 example": outcome, "… and rejections": again}
    if len(truths) >= FEWEST:
        three = [truths[i] for i in order[:3]]
        outcomes["3 examples"], _, _ = search(three, [truths[i] for i in order[3:]])
    return outcomes


def _stacked(masks: Sequence[Mask]) -> Mask:
    """Masks of the image as low-res masks (N, 256, 256)."""
    found = np.zeros((len(masks), LOW_RES_SIDE, LOW_RES_SIDE), bool)
    for square, mask in zip(found, masks, strict=True):
        square[:] = low_res(mask)
    return found


def report(name: str, measured: Sequence[tuple[str, dict[str, Outcome]]]) -> str:
    """A row for each domain and kind of search."""
    rows = [
        f"| {name} | from | searches | F1 | precision | recall | saved | offered | decodes | ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for domain in sorted({domain for domain, _ in measured}):
        for kind in ("1 example", "… and rejections", "3 examples"):
            some = [o[kind] for each, o in measured if each == domain and kind in o]
            if not some:
                continue
            right, offered, wanted = (
                sum(getattr(each, part) for each in some) for part in ("right", "offered", "wanted")
            )
            # The wrong masks of the round before the rejections are not known here.
            saved = f"{(2 * right - offered) / max(1, wanted):.2f}" if "rej" not in kind else ""
            rows.append(
                f"| {domain} | {kind} | {len(some)} | {np.mean([each.f1 for each in some]):.2f} "
                f"| {right / max(1, offered):.2f} | {right / max(1, wanted):.2f} "
                f"| {saved} | {offered / len(some):.1f} "
                f"| {np.mean([each.decodes for each in some]):.0f} "
                f"| {1000 * np.mean([each.seconds for each in some]):.0f} |"
            )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="How much of the rest is found by example.")
    parser.add_argument("folder", type=Path, help="pictures with all objects of their labels")
    parser.add_argument("--half", type=int, choices=(0, 1), help="every second picture only")
    parser.add_argument("--cache", type=Path, help="keep embeddings in this folder")
    options = parser.parse_args()
    name, engine = served()
    measured = []
    for picture in pictures(targets_in(options.folder, None), options.half):
        for start in range(STARTS):
            measured.append((picture.domain, measure(engine, picture, start, options.cache)))
            print(picture.name, measured[-1][1]["1 example"], file=sys.stderr)
    print(report(name, measured))


if __name__ == "__main__":
    main()
