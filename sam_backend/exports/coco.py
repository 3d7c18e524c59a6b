"""Masks as one COCO file: run lengths or polygons. Both are exact to the pixel."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from sam_backend.exports import coco_rle, outlines
from sam_backend.exports.formats import Add, Categories, ExportedPicture
from sam_backend.exports.saved_regions import SavedRegion
from sam_backend.formats.mask import Mask, tight_box
from sam_backend.whole_files import replacing


class Coco:
    """Collects images and annotations in temporary files, so that few of them are in memory."""

    def __init__(self, path: Path, categories: Categories, *, polygons: bool) -> None:
        self._path = path
        self._categories = categories
        self._polygons = polygons
        self._images = _Entries()
        self._annotations = _Entries()
        self._last: ExportedPicture | None = None

    @contextmanager
    def picture(self, picture: ExportedPicture) -> Iterator[Add]:
        page = picture.page
        image: dict[str, Any] = {
            "file_name": picture.file_name,
            "width": page.width,
            "height": page.height,
            "task_id": picture.task,
        }
        if page.item_index is not None:
            image["item_index"] = page.item_index
        if self._last is None or (self._last.task, self._last.page) != (picture.task, page):
            self._images.add(image)
        self._last = picture
        yield lambda region, mask: self._annotations.add(self._annotation(picture, region, mask))

    def finish(self) -> None:
        categories = [
            {"id": number, "name": name, "supercategory": ""}
            for number, name in enumerate(self._categories.names, start=1)
        ]
        with replacing(self._path) as file:
            file.write(b'{"info": {"description": "masks from Label Studio"}, "licenses": [],\n')
            file.write(b'"categories": ' + orjson.dumps(categories) + b',\n"images": [\n')
            self._images.copy_to(file)
            file.write(b'\n],\n"annotations": [\n')
            self._annotations.copy_to(file)
            file.write(b"\n]}\n")

    def _annotation(
        self, picture: ExportedPicture, region: SavedRegion, mask: Mask
    ) -> dict[str, Any]:
        left, top, right, bottom = tight_box(mask) or (0, 0, 0, 0)
        annotation: dict[str, Any] = {
            "image_id": self._images.count,
            "category_id": self._categories.number(region),
            "segmentation": self._segmentation(mask),
            "area": int(np.count_nonzero(mask)),
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
            "annotation_id": picture.annotation,
            "region_id": region.id,
        }
        if len(region.labels) > 1:
            annotation["labels"] = region.labels
        if region.rotation:
            annotation["image_rotation"] = region.rotation
        return annotation

    def _segmentation(self, mask: Mask) -> object:
        if self._polygons:
            return [polygon.ravel().tolist() for polygon in outlines.parts(mask)]
        return coco_rle.encode(mask)


class _Entries:
    """The items of a JSON list, numbered from 1, in a temporary file."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it is deleted with this object)

    def add(self, entry: dict[str, Any]) -> None:
        self._file.write(b",\n" if self.count else b"")
        self.count += 1
        self._file.write(orjson.dumps({"id": self.count, **entry}))

    def copy_to(self, file: BinaryIO) -> None:
        with self._file:
            self._file.seek(0)
            shutil.copyfileobj(self._file, file)
