"""A COCO file: its pictures, annotations and categories. Every value is checked before use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sam_backend.errors import Refusal
from sam_backend.exports import coco_rle
from sam_backend.formats import mask_reader
from sam_backend.formats.mask import Mask
from sam_backend.formats.mask_reader import Points
from sam_backend.formats.pictures import MOST_PIXELS
from sam_backend.formats.results import mappings

CocoImage = Mapping[str, Any]
CocoAnnotation = Mapping[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """The content of a COCO file."""

    images: list[CocoImage]
    _annotations: dict[object, list[CocoAnnotation]]
    _categories: dict[object, str]

    @classmethod
    def read(cls, path: Path) -> CocoFile:
        try:
            content = orjson.loads(path.read_bytes())
        except OSError as error:
            raise Refusal("file", f"{path} cannot be read: {error.strerror}") from None
        except orjson.JSONDecodeError as error:
            raise Refusal("file", f"{path} is not JSON: {error}") from None
        lists = content if isinstance(content, dict) else {}
        missing = [k for k in ("images", "annotations", "categories") if k not in lists]
        if missing:
            raise Refusal("file", f"{path} is not a COCO file: it has no {', no '.join(missing)}")
        by_image: dict[object, list[CocoAnnotation]] = {}
        for annotation in mappings(lists["annotations"]):
            by_image.setdefault(_key(annotation.get("image_id")), []).append(annotation)
        categories = {
            _key(category.get("id")): str(category.get("name"))
            for category in mappings(lists["categories"])
        }
        return cls(mappings(lists["images"]), by_image, categories)

    @property
    def category_names(self) -> list[str]:
        return sorted(set(self._categories.values()))

    def annotations(self, image: CocoImage) -> Sequence[CocoAnnotation]:
        return self._annotations.get(_key(image.get("id")), ())

    def category(self, annotation: CocoAnnotation) -> str | None:
        """The name of an annotation's category. None if the file does not have it."""
        return self._categories.get(_key(annotation.get("category_id")))


def size(image: CocoImage) -> tuple[int, int]:
    """Height and width of a picture. ValueError if the file does not contain them."""
    height, width = image.get("height"), image.get("width")
    if not isinstance(height, int) or not isinstance(width, int):
        raise ValueError("the picture's width and height are not in the file")  # noqa: TRY004
    if not 0 < height * width <= MOST_PIXELS:
        raise ValueError(f"{width}x{height} is not a valid picture size")
    return height, width


def polygons(annotation: CocoAnnotation) -> list[Points] | None:
    """The polygons [[x0, y0, x1, …], …] of an annotation. None if its mask is an RLE."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, Mapping):
        return None
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("it has no mask")
    return [mask_reader.polygon_points(polygon) for polygon in segmentation]


def mask(annotation: CocoAnnotation, height: int, width: int) -> Mask:
    """The mask (height, width) of an annotation. ValueError if it cannot be read."""
    lines = polygons(annotation)
    if lines is None:
        found = coco_rle.decode(annotation["segmentation"])
        if found.shape != (height, width):
            raise ValueError(f"the mask does not have the picture's size, {width}x{height} pixels")
    else:
        found = np.zeros((height, width), bool)
        for line in lines:
            found |= mask_reader.polygon(line, height, width)
    if not found.any():
        raise ValueError("the mask has no pixel")
    return found


def _key(number: object) -> object:
    """An id of any type as a key."""
    return number if isinstance(number, (int, str)) else repr(number)
