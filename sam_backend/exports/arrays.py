"""Masks as NumPy arrays: an .npz file for each annotation, with an array (H, W) for each region."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sam_backend.exports.file_names import SafeNames, safe
from sam_backend.exports.formats import Add, ExportedPicture
from sam_backend.exports.saved_regions import SavedRegion
from sam_backend.formats.mask import Mask
from sam_backend.whole_files import replacing


class Arrays:
    """Writes region by region, because all masks of a picture may not fit into memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def picture(self, picture: ExportedPicture) -> Iterator[Add]:
        names = SafeNames()
        with (
            replacing(self._folder / f"{picture.name}.npz") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):

            def add(region: SavedRegion, mask: Mask) -> None:
                name = names.free(safe(f"{'-'.join(region.labels)}-{region.id}"))
                with archive.open(f"{name}.npy", "w", force_zip64=True) as array:
                    np.lib.format.write_array(array, mask)

            yield add

    def finish(self) -> None:
        """Nothing remains to be written."""
