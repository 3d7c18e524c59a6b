"""From the bytes of an image file to the pixels that the annotator sees."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sam_backend.engine import Pixels
from sam_backend.errors import Refusal

MOST_PIXELS = 200_000_000
# What browsers show and scanners write. Pillow knows dozens more, some of which it hands to other
# programs (EPS to Ghostscript) and few people ever test.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# Pillow's own limit warns before it refuses; ours is checked on the header, before decoding.
Image.MAX_IMAGE_PIXELS = None

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def count(content: bytes) -> int:
    """How many pixels an image file says it has."""
    with _opened(content) as image:
        return image.width * image.height


def decode(content: bytes, most: int = MOST_PIXELS) -> Pixels:
    """RGB (H, W, 3) of the first frame, turned upright as the browser shows it."""
    with _opened(content) as image:
        if image.width * image.height > most:
            raise Refusal(
                "image",
                f"the image has {image.width}x{image.height} pixels, "
                f"over {most // 1_000_000} million (MAX_IMAGE_MEGAPIXELS)",
            )
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(_to_rgb(image))


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """The image, as far as its header tells. Whatever goes wrong within is the file's fault."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            yield image
    except Refusal:
        raise
    except UnidentifiedImageError:
        raise Refusal(
            "image", f"the file is not an image of a known format ({', '.join(FORMATS)})"
        ) from None
    except MemoryError:
        raise Refusal("image", "there is not enough memory to decode the image") from None
    except Exception as error:  # noqa: BLE001 (decoders of damaged files raise all kinds)
        raise Refusal("image", f"the image file is damaged: {error}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return _stretched(image)
    if image.has_transparency_data:
        # Where nothing is painted, the editor's page shines through.
        painted = image.convert("RGBA")
        page = Image.new("RGBA", painted.size, "white")
        return Image.alpha_composite(page, painted).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """More than 8 bits a pixel, rarely all of them used: the file's own range is what shows."""
    values = np.asarray(image, dtype=np.float32)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = high - low if high > low else 1.0
    grey = np.nan_to_num((values - low) / span * 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
