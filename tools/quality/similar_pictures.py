"""Pictures of which all objects of a label are known, for the measurements of searches."""

from __future__ import annotations

import argparse
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from sam_backend.clicks.everything import SPECK
from sam_backend.engines.frame import LOW_RES_SIDE, Frame
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels

FEWEST = 4  # objects in a picture, for three examples leave one to find


@dataclass(frozen=True)
class Picture:
    """A picture with all objects of one label. It is read when it is needed."""

    domain: str
    label: str
    name: str  # of its file
    folder: Path
    files: tuple[str, ...]  # of the masks

    @cached_property
    def pixels(self) -> Pixels:
        return np.asarray(Image.open(self.folder / self.name).convert("RGB"))

    @cached_property
    def truths(self) -> list[Mask]:
        """The masks (H, W), in an order drawn by the picture's name. Specks are left out."""
        every = [np.asarray(Image.open(self.folder / f).convert("L")) > 127 for f in self.files]
        seen = [mask for mask in every if low_res(mask).sum() >= SPECK]
        return [seen[i] for i in self.random("order").permutation(len(seen))]

    def random(self, purpose: str) -> np.random.Generator:
        """The same draws in every run."""
        seed = self.name if purpose == "order" else f"{self.name} {purpose}"
        return np.random.default_rng(zlib.crc32(seed.encode()))


def pictures_in(folder: Path, half: int | None = None, most: int | None = None) -> list[Picture]:
    """The pictures of FOLDER/index.json with enough objects of a label.

    `half` takes every second one of each domain, and `most` draws that many of each domain.
    """
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for entry in json.loads((folder / "index.json").read_text()):
        groups[entry["set"], entry["image"], entry.get("label", "")].append(entry["mask"])
    every = [
        Picture(domain, label, name, folder, tuple(files))
        for (domain, name, label), files in groups.items()
        if len(files) >= FEWEST
    ]
    if half is not None:
        every = [picture for picture, own in zip(every, halves(every), strict=True) if own == half]
    return every if most is None else list(_drawn(every, most))


def halves(every: Sequence[Picture]) -> list[int]:
    """0 or 1 for each picture: every second one of a domain."""
    seen: Counter[str] = Counter()
    found = []
    for picture in every:
        found.append(seen[picture.domain] % 2)
        seen[picture.domain] += 1
    return found


def _drawn(every: Sequence[Picture], most: int) -> Iterator[Picture]:
    for domain in dict.fromkeys(picture.domain for picture in every):
        own = [picture for picture in every if picture.domain == domain]
        chosen = np.random.default_rng(zlib.crc32(domain.encode())).permutation(len(own))[:most]
        yield from (own[i] for i in sorted(chosen))


def low_res(mask: Mask) -> Mask:
    """A mask of the image in the low-res frame (256, 256)."""
    return Frame(*mask.shape).sample(mask)


def stacked(masks: Sequence[Mask]) -> Mask:
    """Masks of the image as low-res masks (N, 256, 256)."""
    found = np.zeros((len(masks), LOW_RES_SIDE, LOW_RES_SIDE), bool)
    for square, mask in zip(found, masks, strict=True):
        square[:] = low_res(mask)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of all measurements of searches."""
    parser.add_argument("folder", type=Path, help="pictures with all objects of their labels")
    parser.add_argument("--most", type=int, metavar="N", help="draw N pictures of each domain")
    parser.add_argument("--cache", type=Path, help="keep embeddings in this folder")
