"""Masks for YOLO: a text file for each picture, with a line for each region, and data.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import orjson

from sam_backend.exports import outlines
from sam_backend.exports.file_names import SafeNames
from sam_backend.exports.formats import Add, Categories, ExportedPicture
from sam_backend.exports.saved_regions import SavedRegion
from sam_backend.formats.mask import Mask
from sam_backend.whole_files import replacing


class Yolo:
    """The text files in `labels` have the paths of the pictures in `images`."""

    def __init__(self, folder: Path, categories: Categories) -> None:
        self._folder = folder
        self._categories = categories
        self._names = SafeNames()
        self._last: ExportedPicture | None = None
        self._path = folder

    @contextmanager
    def picture(self, picture: ExportedPicture) -> Iterator[Add]:
        last, self._last = self._last, picture
        goes_on = last is not None and (last.task, last.page) == (picture.task, picture.page)
        if not goes_on:
            name = PurePosixPath(picture.file_name).with_suffix(".txt")
            self._path = self._folder / "labels" / self._names.free(str(name))
        before = self._path.read_bytes() if goes_on else b""
        with replacing(self._path) as file:
            file.write(before)

            def add(region: SavedRegion, mask: Mask) -> None:
                file.write(self._line(region, mask))

            yield add

    def finish(self) -> None:
        names = "".join(
            f"  {number}: {orjson.dumps(name).decode()}\n"  # a JSON string is one of YAML too
            for number, name in enumerate(self._categories.names)
        )
        text = f"path: .\ntrain: images\nval: images\nnames:\n{names}"
        with replacing(self._folder / "data.yaml") as file:
            file.write(text.encode())

    def _line(self, region: SavedRegion, mask: Mask) -> bytes:
        outline = outlines.joined(outlines.parts(mask)) / [mask.shape[1], mask.shape[0]]
        coordinates = " ".join(f"{number:.6g}" for number in outline.ravel().tolist())
        return f"{self._categories.number(region) - 1} {coordinates}\n".encode()
