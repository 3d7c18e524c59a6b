"""A mask as programs get it, in each form that they ask for."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, overload

import numpy as np

from sam_backend.clicks import segmenter
from sam_backend.clicks.segmenter import DecodeState, Segmentation
from sam_backend.engines.protocol import Embedding
from sam_backend.exports import coco_rle
from sam_backend.formats import mask_writer, rle
from sam_backend.formats.mask import Box, Mask, tight_box
from sam_backend.formats.mask_writer import Line

MOST_ALTERNATIVES = 3


class ObjectMask:
    """The mask of one object."""

    def __init__(
        self, array: Mask, score: float, embedding: Embedding, state: DecodeState | None = None
    ) -> None:
        self.array = array
        """One bool for each pixel of the image, (H, W)."""
        self.score = score
        """The confidence of the model, 0 to 1."""
        self.embedding = embedding
        """The embedding of the mask's image."""
        self.state = state
        """Where the next point continues; None if that follows from the mask."""

    @cached_property
    def alternatives(self) -> tuple[ObjectMask, ...]:
        """The other masks that a single point may mean, such as a part or the whole. Best first.

        There are none after a box or after several points.
        """
        if self.state is None or not len(self.state.candidates):
            return ()
        answer = Segmentation(self.array, self.score, self.state)
        others = segmenter.alternatives(answer, self.embedding, 1 + MOST_ALTERNATIVES)[1:]
        return tuple(ObjectMask(s.mask, s.score, self.embedding, s.state) for s in others)

    @property
    def area(self) -> int:
        """The number of pixels in the mask."""
        return int(np.count_nonzero(self.array))

    @property
    def box(self) -> Box | None:
        """Left, top, right, bottom of the mask. None if the mask is empty."""
        return tight_box(self.array)

    def polygons(self, tolerance: float = 1.0) -> list[Line]:
        """The outlines (N, 2) x, y of the mask's parts, at most `tolerance` pixels off.

        The largest part comes first. Holes are filled.
        """
        if not tolerance >= 0:  # nor NaN
            raise ValueError(f"the tolerance {tolerance!r} is not a number from 0 on")
        return mask_writer.outlines(self.array, tolerance)

    @overload
    def rle(self, form: Literal["coco"] = "coco") -> dict[str, Any]: ...
    @overload
    def rle(self, form: Literal["label_studio"]) -> list[int]: ...
    def rle(self, form: Literal["coco", "label_studio"] = "coco") -> dict[str, Any] | list[int]:
        """The run lengths of the mask, as COCO files have them or as Label Studio's brush does."""
        if form not in ("coco", "label_studio"):
            raise ValueError(f"run lengths are 'coco' or 'label_studio', not {form!r}")
        return coco_rle.encode(self.array) if form == "coco" else rle.encode(self.array)

    def coco(self) -> dict[str, Any]:
        """What a COCO annotation says of the mask: `segmentation`, `bbox`, `area`, `iscrowd`."""
        left, top, right, bottom = self.box or (0, 0, 0, 0)
        return {
            "segmentation": self.rle("coco"),
            "bbox": [left, top, right - left, bottom - top],
            "area": self.area,
            "iscrowd": 0,
        }

    @property
    def png(self) -> bytes:
        """A PNG file, white where the mask is, black elsewhere."""
        return mask_writer.grey_png(self.array)

    @property
    def bitmask_png(self) -> bytes:
        """A PNG file as Label Studio's bitmasks are: black where the mask is, else transparent."""
        return mask_writer.bitmask_png(self.array)

    def __repr__(self) -> str:
        height, width = self.array.shape
        return f"<ObjectMask {width}x{height}, {self.area} pixels, score {self.score:.2f}>"
