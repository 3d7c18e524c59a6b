"""Scales an image as Pillow does, on several cores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from sam_backend.cores import cores
from sam_backend.formats.pictures import Pixels

_MOST_THREADS = 4  # more gain little
_SMALL_PIXELS = 1 << 20  # scaled in a few milliseconds


def scaled(image: Pixels, size: tuple[int, int], threads: int | None = None) -> Pixels:
    """An image (H, W) or (H, W, 3) at another size (width, height), antialiased.

    The result is the same with each number of threads. By default, there is one for each core.
    """
    threads = min(threads or cores(), _MOST_THREADS)
    rows, columns = image.shape[:2]
    width, height = size
    # Pillow scales the rows first, and then the columns. If the height shrinks by far more pixels
    # than the width, it scales the columns first, which rounds differently.
    columns_first = rows - height > 2 * (columns - width)
    if threads == 1 or rows * columns < _SMALL_PIXELS or columns_first:
        return _by_pillow(image, size)
    narrow = np.empty((rows, width, *image.shape[2:]), np.uint8)
    found = np.empty((height, *narrow.shape[1:]), np.uint8)

    def scale_rows(part: slice) -> None:
        narrow[part] = _by_pillow(image[part], (width, part.stop - part.start))

    def scale_columns(part: slice) -> None:
        strip = np.ascontiguousarray(narrow[:, part])
        found[:, part] = _by_pillow(strip, (part.stop - part.start, height))

    with ThreadPoolExecutor(threads) as pool:
        _each_part(pool, scale_rows, rows, threads)
        _each_part(pool, scale_columns, width, threads)
    return found


def _each_part(
    pool: ThreadPoolExecutor, work: Callable[[slice], None], length: int, count: int
) -> None:
    ends = [length * n // count for n in range(count + 1)]
    list(pool.map(work, map(slice, ends, ends[1:])))


def _by_pillow(image: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
