"""Counts the clicks for a good mask, with our rule and the peer's rule on the same embeddings.

    python -m tools.quality [FOLDER]          the table, as Markdown
    python -m tools.quality --pictures IMAGES docs

FOLDER contains an index.json: a list of objects with image, mask (a binary PNG), set (the domain)
and label. Without FOLDER, it measures a few drawn scenes. SAM_CHOICE, SAM_ENGINE and the other
settings choose the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam_backend.clicks.segmenter import ObjectPrompt, State, segment
from sam_backend.engines.choice import check, open_engine, plan
from sam_backend.engines.frame import Floats, Frame
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels
from sam_backend.settings import Settings
from tools.click_protocol import (
    MAX_CLICKS,
    Click,
    clicks_to_reach,
    iou,
    next_click,
    noisy_box,
    tight_box,
)

NO_POINTS = ObjectPrompt(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), None)
DRAWS = 4000


@dataclass(frozen=True)
class Target:
    """One object to annotate."""

    name: str
    domain: str
    image_name: str
    image: Pixels
    truth: Mask


@dataclass(frozen=True)
class Outcome:
    """The result of one strategy for one object."""

    ious: list[float]  # after each of MAX_CLICKS clicks
    box: float  # IoU for the tight box
    noisy_box: float

    def figures(self) -> dict[str, float]:
        after = {f"IoU@{count}": self.ious[count - 1] for count in (1, 2, 3, 5, 10)}
        noc = {f"NoC@{at}": clicks_to_reach(self.ious, at / 100) for at in (80, 85, 90)}
        never = {"never 85": float(max(self.ious) < 0.85)}
        return after | noc | never | {"box": self.box, "noisy box": self.noisy_box}


class Annotation:
    """One object being annotated, with one strategy."""

    def __init__(self, engine: Engine, embedding: Embedding) -> None:
        self._engine = engine
        self._embedding = embedding
        self._state: State | None = None

    def ours(self, prompt: ObjectPrompt) -> Mask:
        answer = segment(self._engine, self._embedding, prompt, self._state)
        self._state = answer.state
        return answer.mask

    def peer(self, prompt: ObjectPrompt) -> Mask:
        """The peer's rule: all clicks at once, the single-mask token, no mask input."""
        logits, _ = self._engine.decode(self._embedding, prompt.points, prompt.labels, prompt.box)
        return Frame(self._embedding.height, self._embedding.width).upsample(logits[0]) > 0


def as_prompt(clicks: list[Click], box: Floats | None = None) -> ObjectPrompt:
    if not clicks:
        return ObjectPrompt(NO_POINTS.points, NO_POINTS.labels, box)
    points = np.array([(click.x, click.y) for click in clicks], np.float32)
    return ObjectPrompt(points, np.array([click.positive for click in clicks], np.float32), box)


def follow_protocol(answer: Callable[[ObjectPrompt], Mask], target: Target) -> Outcome:
    """Click until it is right, then start again with a box, then with a noisy box."""
    mask = np.zeros_like(target.truth)
    clicks: list[Click] = []
    ious: list[float] = []
    for _ in range(MAX_CLICKS):
        click = next_click(mask, target.truth)
        if click is not None:
            clicks.append(click)
            mask = answer(as_prompt(clicks))
        ious.append(iou(mask, target.truth))
    random = np.random.default_rng(zlib.crc32(target.name.encode()))
    boxes = tight_box(target.truth), noisy_box(target.truth, random)
    tight, noisy = (iou(answer(as_prompt([], box)), target.truth) for box in boxes)
    return Outcome(ious, tight, noisy)


def served() -> tuple[str, Engine]:
    """The model that the server would load with these settings, and its name."""
    chosen = plan(Settings.from_environment())
    check(chosen)
    return f"{chosen.name}, {chosen.runtime}", open_engine(chosen)


def targets_in(folder: Path, limit: int | None) -> Iterator[Target]:
    entries = json.loads((folder / "index.json").read_text())
    step = 1 if limit is None else max(1, len(entries) // limit)
    for entry in entries[::step][:limit]:
        image = np.asarray(Image.open(folder / entry["image"]).convert("RGB"))
        truth = np.asarray(Image.open(folder / entry["mask"]).convert("L")) > 127
        yield Target(entry["mask"], entry["set"], entry["image"], image, truth)


def drawn_targets(scenes: int = 4) -> Iterator[Target]:
    """Scenes with a disc, a slanted bar and a ring each, in uneven light and noise."""
    height, width = 360, 480
    for scene in range(scenes):
        random = np.random.default_rng(scene)
        left, right = random.uniform(40, 200, (2, 3))
        canvas = np.linspace(left, right, width).astype(np.float32)
        image = np.repeat(canvas[None], height, axis=0)
        truths: dict[str, Mask] = {}
        for number, kind in enumerate(("disc", "bar", "ring")):
            layer = np.zeros((height, width), np.uint8)
            middle = np.array([80 + 160 * number, random.integers(110, 250)])
            size = int(random.integers(30, 65))
            if kind == "bar":
                half = np.array([size // 2, size])
                start, end = (middle - half).tolist(), (middle + half).tolist()
                cv2.line(layer, start, end, 1, size // 4)
            else:
                thickness = -1 if kind == "disc" else size // 2
                cv2.circle(layer, middle.tolist(), size, 1, thickness)
            truths[kind] = layer > 0
            image[truths[kind]] = random.uniform(0, 255, 3)
        image += random.normal(0, 8, image.shape)
        pixels = np.clip(cv2.GaussianBlur(image, (5, 5), 0), 0, 255).astype(np.uint8)
        for kind, truth in truths.items():
            yield Target(f"{scene} {kind}", f"drawn {kind}", f"scene {scene}", pixels, truth)


def embed(engine: Engine, image: Pixels, cache: Path | None) -> Embedding:
    if cache is None:
        return engine.encode(image)
    made_by = str(getattr(engine, "fingerprint", engine.name))
    kept = cache / f"{hashlib.sha256(made_by.encode() + image.tobytes()).hexdigest()[:32]}.npy"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(kept, engine.encode(image).features)
    return Embedding(np.load(kept), height=image.shape[0], width=image.shape[1])


@dataclass(frozen=True)
class Pair:
    target_domain: str
    image_name: str
    peer: dict[str, float]
    ours: dict[str, float]


def measure(engine: Engine, targets: Iterable[Target], cache: Path | None) -> list[Pair]:
    pairs: list[Pair] = []
    name, embedding = "", None
    for number, target in enumerate(targets, start=1):
        if embedding is None or target.image_name != name:
            name, embedding = target.image_name, embed(engine, target.image, cache)
        annotation = Annotation(engine, embedding)
        peer, ours = (
            follow_protocol(answer, target).figures()
            for answer in (annotation.peer, annotation.ours)
        )
        pairs.append(Pair(target.domain, target.image_name, peer, ours))
        if sys.stderr.isatty():
            print(f"\r{number} objects", end="", file=sys.stderr)
    return pairs


def interval(differences: npt.NDArray[np.float64], images: list[str]) -> tuple[float, float, float]:
    """The mean and its 95 % bootstrap interval, by image: its objects are not independent."""
    _, group = np.unique(images, return_inverse=True)
    sums, counts = np.bincount(group, differences), np.bincount(group)
    drawn = np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)


def report(engine_name: str, pairs: list[Pair]) -> str:
    names = list(pairs[0].ours)
    rows = [_table_head([f"{engine_name}, {len(pairs)} objects", *names])]
    for label, side in (("peer's rule", "peer"), ("ours", "ours")):
        means = (np.mean([getattr(pair, side)[name] for pair in pairs]) for name in names)
        rows.append(
            _row([label, *(_value(n, float(m)) for n, m in zip(names, means, strict=True))])
        )
    rows.append(_row(["difference", *(_difference(pairs, name) for name in names)]))
    domains = sorted({pair.target_domain for pair in pairs})
    columns = ["IoU@1", "IoU@3", "IoU@5", "NoC@85", "never 85", "box", "noisy box"]
    rows += ["", _table_head(["difference by domain", "objects", *columns])]
    for domain in domains:
        part = [pair for pair in pairs if pair.target_domain == domain]
        rows.append(_row([domain, str(len(part)), *(_difference(part, name) for name in columns)]))
    return "\n".join(rows)


def _difference(pairs: list[Pair], name: str) -> str:
    values = np.array([pair.ours[name] - pair.peer[name] for pair in pairs], np.float64)
    mean, low, high = interval(values, [pair.image_name for pair in pairs])
    return f"{_value(name, mean, '+')} [{_value(name, low, '+')}, {_value(name, high, '+')}]"


def _value(name: str, value: float, sign: str = "") -> str:
    if name.startswith("NoC"):
        return f"{value:{sign}.2f}"
    if name.startswith("never"):
        return f"{100 * value:{sign}.0f} %"
    return f"{value:{sign}.3f}".replace("0.", ".", 1)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table_head(cells: list[str]) -> str:
    return f"{_row(cells)}\n{_row(['---'] * len(cells))}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Clicks for a good mask, ours and peer's.")
    parser.add_argument("folder", type=Path, nargs="?", help="objects with ground truth")
    parser.add_argument("--limit", type=int, help="measure N objects, evenly spread")
    parser.add_argument("--cache", type=Path, help="keep embeddings in this folder")
    parser.add_argument("--pictures", type=Path, nargs=2, metavar=("IMAGES", "OUT"))
    options = parser.parse_args()
    name, engine = served()
    if options.pictures:
        from tools.quality_pictures import draw_pictures  # noqa: PLC0415 - it imports from here

        draw_pictures(engine, *options.pictures)
        return
    targets = targets_in(options.folder, options.limit) if options.folder else drawn_targets()
    print(report(name, measure(engine, targets, options.cache)))


if __name__ == "__main__":
    main()
