"""The pixels of an image that a program gives: as a path, bytes, an array or a PIL image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam_backend.errors import Refusal
from sam_backend.formats import pictures
from sam_backend.formats.pictures import Pixels

ImageSource = str | Path | bytes | Image.Image | npt.NDArray[Any]


def pixels_of(source: ImageSource) -> Pixels:
    """RGB (H, W, 3) of a file, of a file's bytes, of a PIL image or of an array.

    Files are turned upright by their Exif orientation. PIL images and arrays stay as they are.
    """
    if isinstance(source, str | Path):
        try:
            return pictures.decode(Path(source).read_bytes())
        except Refusal as refusal:
            raise Refusal(refusal.cause, f"{source}: {refusal}") from None
    if isinstance(source, bytes):
        return pictures.decode(source)
    if isinstance(source, Image.Image):
        return np.ascontiguousarray(source.convert("RGB"))
    return _of_array(source)


def name_of(source: ImageSource) -> str:
    """The name of an image's file. Empty for images without a file."""
    return Path(source).name if isinstance(source, str | Path) else ""


def _of_array(array: object) -> Pixels:
    if not isinstance(array, np.ndarray):
        kind = type(array).__name__
        raise TypeError(f"an image is a path, bytes, a PIL image or an array, not {kind!r}")
    if array.dtype != np.uint8:
        raise TypeError(f"the array of an image has dtype uint8, not {array.dtype}")
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(
            f"the array of an image has the shape (H, W, 3) or (H, W), not {array.shape}"
        )
    return np.ascontiguousarray(array)
