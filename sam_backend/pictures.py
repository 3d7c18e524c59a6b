"""From the bytes of an image file to the pixels that the annotator sees."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sam_backend.engine import Pixels
from sam_backend.errors import Refusal

MAX_PIXELS = 200_000_000
# Pillow's own limit warns before it refuses; ours is checked on the header, before decoding.
Image.MAX_IMAGE_PIXELS = None

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def decode(content: bytes) -> Pixels:
    """RGB (H, W, 3) of the first frame, turned upright as the browser shows it."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Refusal(
                    "image",
                    f"the image has {image.width}x{image.height} pixels, "
                    f"over {MAX_PIXELS // 1_000_000} million",
                )
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise Refusal("image", "the file is not an image of a known format") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise Refusal("image", f"the image file is damaged: {error}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return _stretched(image)
    if image.has_transparency_data:
        # Where nothing is painted, the editor's page shines through.
        painted = image.convert("RGBA")
        page = Image.new("RGBA", painted.size, "white")
        return Image.alpha_composite(page, painted).convert("RGB")
    return image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """More than 8 bits a pixel, rarely all of them used: the file's own range is what shows."""
    values = np.asarray(image, dtype=np.float32)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = high - low if high > low else 1.0
    grey = np.nan_to_num((values - low) / span * 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
