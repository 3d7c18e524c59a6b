"""A drawn picture whose objects a segmentation model cannot miss, and the truth about it."""

from __future__ import annotations

from enum import Enum

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sam_backend.formats.mask import Mask

WIDTH, HEIGHT = 640, 426


class Shape(Enum):
    """Objects: how to draw them (pixels), in which colour, and a place inside (fractions)."""

    DISC = ("ellipse", (60, 60, 230, 230), "#c4262e")
    PLATE = ("rectangle", (360, 70, 580, 200), "#1d4fa8")
    RING = ("ellipse", (390, 250, 540, 400), "#e0a100")
    BAR = ("rectangle", (90, 300, 290, 370), "#f4f4f4")

    def mask(self) -> Mask:
        """The object's pixels, (HEIGHT, WIDTH)."""
        image = Image.new("1", (WIDTH, HEIGHT))
        _fill(ImageDraw.Draw(image), self, 1)
        return np.asarray(image)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place in fractions of the image, given in fractions of the object's box."""
        left, top, right, bottom = self.value[1]
        return (left + x * (right - left)) / WIDTH, (top + y * (bottom - top)) / HEIGHT

    @property
    def centre(self) -> tuple[float, float]:
        return self.at(0.5, 0.5)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """A rectangle drawn a little generously around the object, in fractions."""
        return (*self.at(-0.04, -0.04), *self.at(1.04, 1.04))


def draw(shapes: list[Shape]) -> Image.Image:
    """Smooth objects on a grainy background."""
    grain = np.random.default_rng(7).integers(95, 150, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    image = Image.fromarray(np.repeat(grain, 3, axis=2)).filter(ImageFilter.GaussianBlur(1))
    canvas = ImageDraw.Draw(image)
    for shape in shapes:
        _fill(canvas, shape, shape.value[2])
    return image


def _fill(canvas: ImageDraw.ImageDraw, shape: Shape, colour: str | int) -> None:
    kind, box, _ = shape.value
    (canvas.ellipse if kind == "ellipse" else canvas.rectangle)(box, fill=colour)


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max((one | other).sum(), 1))
