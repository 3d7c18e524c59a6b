"""The protocol that every model speaks, and the inputs that all SAM models share."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np

from sam_backend.engines.frame import MODEL_SIDE, Floats, Frame, Halves
from sam_backend.engines.scaling import scaled
from sam_backend.formats.pictures import Pixels

PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)

_LARGE_PIXELS = 1 << 24


@dataclass(frozen=True)
class Facts:
    """The meaning of a model's answers. The defaults are SAM's, and fit MobileSAM.

    The limits are MobileSAM's, found by `make quality`. Other models state the limits of their own
    predictors.
    """

    single: int = 0  # the index of the mask for a prompt that is not ambiguous
    whole: int = 3  # and of the largest of the other three
    feedback_limit: float = 10.0  # larger logits of an earlier answer are cut to this
    box_doubt: float = 1.0  # in a rectangle, logits down to minus this are the object
    refines: bool = True  # it takes negative points, and an earlier answer to start from


SAM = Facts()
# SAM 2's own predictor cuts logits to this, and draws the line of a rectangle's mask at 0.
SAM_2 = Facts(feedback_limit=32.0, box_doubt=0.0)
# SAM-HQ's own predictor has no limit, and draws the line at 0, too. Each of its masks is one of
# SAM's plus the mask of the further token, so its logits are about twice as large.
SAM_HQ = Facts(feedback_limit=math.inf, box_doubt=0.0)
# EfficientSAM was trained on positive points and rectangles. It draws the line at 0.
EFFICIENT_SAM = Facts(box_doubt=0.0, refines=False)


@dataclass(frozen=True)
class Kind:
    """How images and prompts are prepared for a model, and what its answers mean."""

    facts: Facts
    stretches: bool = False  # it stretches an image to a square, instead of padding it
    pads_boxes: bool = False  # it expects the padding point with a box, too
    slots: int = 0  # it takes so many points, not fewer and not more. 0: any number


# By the names that converted files carry.
KINDS = {
    "sam": Kind(SAM),
    "sam2": Kind(SAM_2, stretches=True, pads_boxes=True),
    "hq": Kind(SAM_HQ),
    "efficient": Kind(EFFICIENT_SAM, stretches=True, slots=6),
}


@dataclass(frozen=True)
class Embedding:
    """The output of an encoder for one image: everything that decoding needs."""

    features: Floats  # (1, C, h, w)
    height: int  # of the image, pixels
    width: int
    # Further arrays of an encoder that sees finer detail. Only its own engine reads them.
    details: tuple[Halves, ...] = ()
    # What its engine computes from it once, for all decodes. It is only in memory.
    derived: dict[str, Floats] = field(default_factory=dict, compare=False, repr=False)

    @property
    def nbytes(self) -> int:
        details = sum(int(detail.nbytes) for detail in self.details)
        # A copy, because another thread may be adding to it.
        derived = sum(int(array.nbytes) for array in dict(self.derived).values())
        return int(self.features.nbytes) + details + derived

    @cached_property
    def frame(self) -> Frame:
        return Frame(self.height, self.width)

    @cached_property
    def digest(self) -> bytes:
        """A hash of the content. It is the same for the same image in every process.

        It takes a few milliseconds, once for each image that is loaded into memory.
        """
        # Channels last, like the embedding in memory, so that nothing is copied.
        features = np.ascontiguousarray(self.features.transpose(0, 2, 3, 1))
        found = hashlib.sha256(f"{self.height} {self.width} {features.shape}".encode())
        found.update(features.data)
        for detail in self.details:
            found.update(np.ascontiguousarray(detail).data)
        return found.digest()


class Engine(Protocol):
    """A SAM model. It keeps no image between calls, and many threads may call it at once."""

    name: str
    facts: Facts

    def encode(self, image: Pixels) -> Embedding:
        """Embedding of an RGB image (H, W, 3)."""
        ...

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Low-res logits (4, 256, 256) and predicted IoUs (4,) for one object.

        points (N, 2) x, y in image pixels; labels (N,) 1 positive, 0 negative; box (4,) x0, y0,
        x1, y1 in image pixels; mask_input (256, 256) logits of an earlier answer. `facts`
        names two of the four.
        """
        ...


def halved(detail: Floats) -> Halves:
    """A detail of an embedding in half precision, which takes half as much memory."""
    most = np.finfo(np.float16).max
    return np.clip(detail, -most, most).astype(np.float16)


def to_model_frame(image: Pixels, *, stretched: bool = False) -> Pixels:
    """The image scaled to the model's square, without padding, as SAM was trained: antialiased."""
    height, width = Frame(image.shape[0], image.shape[1], stretched).scaled
    if image.shape[0] * image.shape[1] <= _LARGE_PIXELS:
        return scaled(image, (width, height))
    # Pillow's copy has four bytes a pixel. One channel at a time gives the same result.
    channels = (np.ascontiguousarray(image[..., n]) for n in range(image.shape[2]))
    return np.dstack([scaled(channel, (width, height)) for channel in channels])


def model_input(
    image: Pixels, height: int = MODEL_SIDE, width: int = MODEL_SIDE, *, stretched: bool = False
) -> Floats:
    """The input of an encoder: (1, 3, height, width), normalised, with zeros right and below.

    It has the size of the model's square, or of the part that contains the image.
    """
    planes = cv2.split(to_model_frame(image, stretched=stretched))
    pixels = np.zeros((1, 3, height, width), np.float32)
    for into, plane, mean, std in zip(pixels[0], planes, PIXEL_MEAN, PIXEL_STD, strict=True):
        used = into[: plane.shape[0], : plane.shape[1]]
        np.subtract(plane, mean, out=used)
        used /= std
    return pixels


def prompt_points(
    frame: Frame,
    points: Floats,
    labels: Floats,
    box: Floats | None,
    *,
    pads_boxes: bool = False,
) -> tuple[Floats, Floats]:
    """The input of SAM's prompt encoder: points (1, M, 2) in the model's square, labels (1, M).

    A box is two points with the labels 2 and 3. Without a box, SAM expects a padding point with
    the label -1. SAM 2 expects one with a box too.
    """
    corners = np.zeros((0, 2), np.float32) if box is None else box.reshape(2, 2)
    padding = np.zeros((1 if box is None or pads_boxes else 0, 2), np.float32)
    codes = *labels.ravel(), *(2, 3)[: len(corners)], *(-1,) * len(padding)
    coordinates = frame.in_square(np.concatenate((points.reshape(-1, 2), corners, padding)))
    return coordinates[None], np.array(codes, np.float32)[None]


def slotted_points(
    frame: Frame, points: Floats, labels: Floats, box: Floats | None, slots: int
) -> tuple[Floats, Floats]:
    """The input of EfficientSAM's prompt encoder: points (1, slots, 2), labels (1, slots).

    Of the points, these are the newest positive ones that fit beside the corners of the box. The
    slots that are left get the label -1, and lie at -1, as in the makers' own code.
    """
    corners = np.zeros((0, 2), np.float32) if box is None else box.reshape(2, 2)
    positive = points.reshape(-1, 2)[labels.ravel() > 0][-(slots - len(corners)) :]
    placed = frame.in_square(np.concatenate((positive, corners)))
    coordinates = np.full((1, slots, 2), -1, np.float32)
    codes = np.full((1, slots), -1, np.float32)
    coordinates[0, : len(placed)] = placed
    codes[0, : len(placed)] = *(1,) * len(positive), *(2, 3)[: len(corners)]
    return coordinates, codes


def four_of_three(masks: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """The best one as the single mask, and then all three in the order of their areas."""
    areas = np.count_nonzero(masks > 0, axis=(1, 2))
    order = [int(scores.argmax()), *np.argsort(areas, kind="stable")]
    return masks[order], scores[order]
