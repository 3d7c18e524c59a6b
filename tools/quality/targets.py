"""What to annotate: objects with ground truth from a folder, or drawn ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels


@dataclass(frozen=True)
class Target:
    """One object that an annotator has in mind."""

    name: str
    domain: str
    label: str
    image_name: str
    image: Pixels
    truth: Mask


def targets_in(folder: Path, limit: int | None) -> Iterator[Target]:
    """The objects that FOLDER/index.json lists: image, mask (a binary PNG), set, and label."""
    entries = json.loads((folder / "index.json").read_text())
    step = 1 if limit is None else max(1, len(entries) // limit)
    for entry in entries[::step][:limit]:
        image = np.asarray(Image.open(folder / entry["image"]).convert("RGB"))
        truth = np.asarray(Image.open(folder / entry["mask"]).convert("L")) > 127
        label = str(entry.get("label", ""))
        yield Target(entry["mask"], entry["set"], label, entry["image"], image, truth)


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
            yield Target(f"{scene} {kind}", f"drawn {kind}", kind, f"scene {scene}", pixels, truth)


def embed(engine: Engine, image: Pixels, cache: Path | None) -> Embedding:
    """The image's embedding, kept in a folder from one run to the next if there is one."""
    if cache is None:
        return engine.encode(image)
    made_by = str(getattr(engine, "fingerprint", engine.name))
    kept = cache / f"{hashlib.sha256(made_by.encode() + image.tobytes()).hexdigest()[:32]}.npz"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = engine.encode(image)
        np.savez(kept, made.features, *made.details)
    with np.load(kept) as arrays:
        features, *details = arrays.values()
    return Embedding(features, image.shape[0], image.shape[1], tuple(details))
