"""Where an image lies in the two squares of SAM: the model's and the low-res one.

Three frames: the image (pixels of the picture as the annotator sees it), the model's square of
1024 x 1024 (longest side scaled to 1024, the rest is padding), and the low-res square of 256 x 256
in which masks come back. All arithmetic between them is here, so that it rounds the same way.

SAM 2 has no padding: it stretches the image until it fills the square. Its engines move masks from
and to that square, so no other module has to do so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam_backend.formats.mask import Mask, tight_box

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Indices = npt.NDArray[np.intp]

MODEL_SIDE = 1024
LOW_RES_SIDE = 256
TOKEN_SIDE = 16  # pixels of the model's square for each row or column of the embedding
_STEP = LOW_RES_SIDE / MODEL_SIDE
# Logits as whole numbers: in steps of 1/256, up to 127.
_FINENESS, _LARGEST = 256, 32_767


@dataclass(frozen=True)
class Frame:
    """The frames of an image of this size, in pixels."""

    height: int
    width: int
    stretched: bool = False

    @cached_property
    def scaled(self) -> tuple[int, int]:
        """Height and width in the model's square, rounded as the encoder's preprocessing does."""
        if self.stretched:
            return MODEL_SIDE, MODEL_SIDE
        scale = MODEL_SIDE / max(self.height, self.width)
        return max(1, int(self.height * scale + 0.5)), max(1, int(self.width * scale + 0.5))

    @cached_property
    def used(self) -> tuple[int, int]:
        """Rows and columns of the low-res square that hold image, the last ones perhaps in part."""
        rows, columns = np.ceil(np.multiply(self.scaled, _STEP)).astype(int)
        return int(rows), int(columns)

    @property
    def tokens(self) -> tuple[int, int]:
        """Rows and columns of the embedding that hold image."""
        rows, columns = (-(-side // TOKEN_SIDE) for side in self.scaled)
        return rows, columns

    def cut(self, logits: Floats) -> Floats:
        """The part of (..., 256, 256) that is image, not padding; a view."""
        rows, columns = self.used
        return logits[..., :rows, :columns]

    def in_square(self, points: Floats) -> Floats:
        """Points (N, 2) x, y in image pixels, in the model's square."""
        height, width = self.scaled
        scale = np.array([width / self.width, height / self.height], np.float32)
        return points.reshape(-1, 2).astype(np.float32) * scale

    def low_res_box(self, box: Floats) -> Floats:
        """A box (4,) x0, y0, x1, y1 in image pixels, in low-res pixels, as far as it is image."""
        rows, columns = self.used
        corners = self.in_square(box) * np.float32(_STEP)
        inside: Floats = np.clip(corners, 0, np.array([columns, rows], np.float32)).ravel()
        return inside

    def spots(self, points: Floats) -> Indices:
        """Low-res pixels (N, 2) x, y of points (N, 2) in image pixels, none outside the image.

        SAM's prompt encoder puts a point in the middle of its pixel of the model's square.
        """
        rows, columns = self.used
        spots = np.floor((self.in_square(points) + 0.5) * _STEP).astype(np.intp)
        inside: Indices = np.clip(spots, 0, [columns - 1, rows - 1])
        return inside

    def middles(self) -> tuple[Indices, Indices]:
        """The image's rows and columns in the middles of the low-res pixels that hold image."""
        rows, columns = (
            np.minimum((np.arange(used) + 0.5) / _STEP * side / scaled, side - 1).astype(np.intp)
            for used, scaled, side in zip(
                self.used, self.scaled, (self.height, self.width), strict=True
            )
        )
        return rows, columns

    def sample(self, mask: Mask) -> Mask:
        """A mask of the image (height, width) in the low-res square (256, 256)."""
        return self.padded(mask[np.ix_(*self.middles())])

    def low_res_mask(self, logits: Floats) -> Mask:
        """The mask (256, 256) of low-res logits, empty in the padding."""
        return self.padded(self.cut(logits) > 0)

    def padded(self, used: Mask) -> Mask:
        """The part of a low-res mask that is image, in the whole square (256, 256)."""
        square = np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), bool)
        square[: used.shape[0], : used.shape[1]] = used
        return square

    def upsample(self, logits: Floats) -> Floats:
        """Low-res logits (256, 256) at the size of the image (height, width)."""
        return np.ascontiguousarray(self._scaled_up(self.cut(logits)), dtype=np.float32)

    def mask(self, logits: Floats) -> Mask:
        """Where low-res logits (256, 256) are positive, at the size of the image (height, width).

        Scaling up whole numbers takes half the memory of logits, and less time. They are so fine
        that an edge moves by a small fraction of a pixel.
        """
        mask = np.zeros((self.height, self.width), bool)
        used = self.cut(logits)
        box = tight_box(used > 0)
        if box is not None:
            # Scaled from the top left corner, so what is right of the mask and below can be left
            # out. One more row and column lead from the mask to its surroundings. In a tiny image,
            # some low-res pixels alone would make no pixel.
            if self.height >= used.shape[0] and self.width >= used.shape[1]:
                used = used[: box[3] + 1, : box[2] + 1]
            fine = np.clip(used * _FINENESS, -_LARGEST, _LARGEST).astype(np.int16)
            big = self._scaled_up(fine)
            np.greater(big, 0, out=mask[: big.shape[0], : big.shape[1]])
        return mask

    def _scaled_up(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The used part of the low-res square at the size of the image."""
        height, width = self.scaled
        # Given as factors: the used part ends between two low-res pixels, which sizes cannot say.
        big: npt.NDArray[Any] = cv2.resize(
            values,
            None,
            fx=self.width / (width * _STEP),
            fy=self.height / (height * _STEP),
            interpolation=cv2.INTER_LINEAR,
        )
        return big[: self.height, : self.width]

    def from_stretched(self, logits: Floats) -> Floats:
        """Logits (..., 256, 256) of SAM 2's stretched square, in the padded low-res square."""
        return _resampled(logits, [MODEL_SIDE / side for side in self.scaled])

    def to_stretched(self, logits: Floats) -> Floats:
        """Logits (..., 256, 256) of the padded low-res square, in SAM 2's stretched one."""
        return _resampled(logits, [side / MODEL_SIDE for side in self.scaled])

    def shrink(self, logits: Floats, outside: float) -> Floats:
        """Logits of the image (any height, any width) in the low-res square (256, 256)."""
        rows, columns = self.used
        # The image ends within the last low-res pixels. As far as it goes it is scaled down, and
        # what is missing of them is its edge.
        height, width = (max(1, round(side * _STEP)) for side in self.scaled)
        small = cv2.resize(logits, (width, height), interpolation=cv2.INTER_AREA)
        square = np.full((LOW_RES_SIDE, LOW_RES_SIDE), outside, np.float32)
        square[:rows, :columns] = cv2.copyMakeBorder(
            small, 0, rows - height, 0, columns - width, cv2.BORDER_REPLICATE
        )
        return square


def _resampled(logits: Floats, scale: Sequence[float]) -> Floats:
    """Squares (..., 256, 256) by `scale` (y, x), interpolated between the middles of pixels."""
    down, across = scale
    matrix = np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5]], np.float32)
    found = np.empty(logits.shape, np.float32)
    for index in np.ndindex(logits.shape[:-2]):
        cv2.warpAffine(
            np.ascontiguousarray(logits[index], np.float32),
            matrix,
            (LOW_RES_SIDE, LOW_RES_SIDE),
            dst=found[index],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return found
