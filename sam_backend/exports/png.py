"""Masks as PNG files: one for each region, one for each label, or maps of labels or regions."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import orjson
from PIL import Image

from sam_backend.exports.file_names import SafeNames, safe
from sam_backend.exports.formats import Add, Categories, ExportedPicture
from sam_backend.exports.saved_regions import SavedRegion
from sam_backend.formats.mask import Mask
from sam_backend.whole_files import replacing

_MOST_REGIONS = 65535
_FAST = 1  # PNG compression: masks are small at any level


class Regions:
    """A black and white picture for each region, in a folder for each annotation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def picture(self, picture: ExportedPicture) -> Iterator[Add]:
        names = SafeNames()

        def add(region: SavedRegion, mask: Mask) -> None:
            name = names.free(safe(f"{'-'.join(region.labels)}-{region.id}"))
            _write(self._folder / picture.name / f"{name}.png", _black_and_white(mask))

        yield add

    def finish(self) -> None:
        """Nothing remains to be written."""


class Labels:
    """A black and white picture for each label that an annotation has."""

    def __init__(self, folder: Path, categories: Categories) -> None:
        self._folder = folder
        self._names = SafeNames()
        for label in categories.names:
            self._names.of(label)  # so that names do not depend on the order of regions

    @contextmanager
    def picture(self, picture: ExportedPicture) -> Iterator[Add]:
        found: dict[str, Mask] = {}

        def add(region: SavedRegion, mask: Mask) -> None:
            for label in region.labels:
                found[label] = found[label] | mask if label in found else mask

        yield add
        for label, mask in found.items():
            name = f"{self._names.of(label)}.png"
            _write(self._folder / picture.name / name, _black_and_white(mask))

    def finish(self) -> None:
        """Nothing remains to be written."""


class Semantic:
    """A map of labels for each annotation: 0 is background. Later regions lie on top."""

    def __init__(self, folder: Path, categories: Categories) -> None:
        categories.at_most(255, "maps of labels")
        self._folder = folder
        self._categories = categories
        hues = (number * 0.618 % 1 for number in range(len(categories.names)))  # far apart
        colours = [(0.0, 0.0, 0.0), *(colorsys.hsv_to_rgb(hue, 0.75, 0.95) for hue in hues)]
        self._palette = bytes(round(255 * part) for colour in colours for part in colour)

    @contextmanager
    def picture(self, picture: ExportedPicture) -> Iterator[Add]:
        labels = np.zeros((picture.page.height, picture.page.width), np.uint8)

        def add(region: SavedRegion, mask: Mask) -> None:
            labels[mask] = self._categories.number(region)

        yield add
        image = Image.fromarray(labels)
        image.putpalette(self._palette)
        _write(self._folder / f"{picture.name}.png", image)

    def finish(self) -> None:
        legend = {"0": "background"}
        legend |= {str(n): name for n, name in enumerate(self._categories.names, start=1)}
        _write_json(self._folder / "labels.json", legend)


class Instances:
    """A map of regions for each annotation, 16 bits a pixel, and a list of regions by number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def picture(self, picture: ExportedPicture) -> Iterator[Add]:
        numbers = np.zeros((picture.page.height, picture.page.width), np.uint16)
        legend: dict[str, dict[str, object]] = {}

        def add(region: SavedRegion, mask: Mask) -> None:
            if len(legend) == _MOST_REGIONS:
                raise ValueError(f"a map of regions holds at most {_MOST_REGIONS} regions")
            numbers[mask] = len(legend) + 1
            legend[str(len(legend) + 1)] = {"id": region.id, "labels": region.labels}

        yield add
        _write(self._folder / f"{picture.name}.png", Image.fromarray(numbers))
        _write_json(self._folder / f"{picture.name}.json", legend)

    def finish(self) -> None:
        """Nothing remains to be written."""


def _black_and_white(mask: Mask) -> Image.Image:
    return Image.fromarray(mask * np.uint8(255))


def _write(path: Path, image: Image.Image) -> None:
    with replacing(path) as file:
        image.save(file, "PNG", compress_level=_FAST)


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2))
