"""Decodes an image file to the pixels that the annotator sees."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from sam_backend.errors import Refusal
from sam_backend.formats import avif_frames, tiff_tiles

Pixels = npt.NDArray[np.uint8]  # (H, W, 3), RGB

MOST_PIXELS = 200_000_000
# Browsers show no longer ones, and a line of millions of pixels takes gigabytes to outline.
MOST_SIDE = 65_535
# The formats of browsers and scanners. Pillow knows dozens more. It passes some of them to other
# programs (EPS to Ghostscript), and few people test them.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# Pillow's own limit only warns at first. Ours is checked on the header, before decoding.
Image.MAX_IMAGE_PIXELS = None

# Decoding may take this much memory, and beyond that this many bytes for each byte of the file.
_MOST_BYTES = 180 << 20
_MOST_BYTES_A_BYTE = 240
# Cameras write at most ten of each. Each one costs time: a scan goes through all pixels again, and
# Pillow joins the Exif parts one by one.
_MOST_PARTS = (
    (b"\xff\xd8", b"\xff\xda", 50),  # the scans of a JPEG
    (b"\xff\xd8", b"Exif\0\0", 100),
    (b"\x89PNG", b"iCCP", 10),
)
_PIXELS_AT_ONCE = 1 << 20

_ONE_BYTE_MODES = ("1", "L", "P")
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def count(content: bytes) -> int:
    """The number of pixels in an image file, by its header."""
    with opened(content) as image:
        return image.width * image.height


def decode(content: bytes, most: int = MOST_PIXELS) -> Pixels:
    """RGB (H, W, 3) of the first frame, turned upright as the browser shows it."""
    with opened(content) as image:
        if image.width * image.height > most:
            raise Refusal(
                "image",
                f"the image has {image.width}x{image.height} pixels, "
                f"over {most // 1_000_000} million (MAX_IMAGE_MEGAPIXELS)",
            )
        if max(image.size) > MOST_SIDE:
            raise Refusal(
                "image",
                f"the image has {image.width}x{image.height} pixels, and a side of over "
                f"{MOST_SIDE:,}: cut it into parts",
            )
        _check_memory(image, content)
        return _upright(_rgb(image), image.getexif().get(ExifTags.Base.Orientation))


@contextmanager
def opened(content: bytes, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """The image, opened but not decoded. Any error within the block is the file's fault."""
    for start, part, most in _MOST_PARTS:
        if content.startswith(start) and content.count(part) > most:
            raise Refusal("image", f"the image file is damaged: over {most} parts of one kind")
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            yield image
    except Refusal:
        raise
    except UnidentifiedImageError:
        raise Refusal(
            "image", f"the file is not an image of a known format ({', '.join(formats)})"
        ) from None
    except MemoryError:
        raise Refusal("image", "there is not enough memory to decode the image") from None
    except Exception as error:  # noqa: BLE001 (decoders of damaged files raise all kinds)
        raise Refusal("image", f"the image file is damaged: {error}") from None


def _check_memory(image: Image.Image, content: bytes) -> None:
    """Refusal if a small file would take far more memory than its size justifies."""
    decoded, at_once = image.width * image.height, 0
    if image.format == "TIFF":
        tiff = tiff_tiles.decoding(content, image.width, image.height)
        decoded, at_once = tiff.pixels, tiff.at_once
    elif image.format == "AVIF":
        decoded = max(decoded, avif_frames.pixels(content))
    needed = decoded * _bytes_a_pixel(image) + at_once * _bytes_of_a_part(image)
    most = max(_MOST_BYTES, len(content) * _MOST_BYTES_A_BYTE)
    if needed > most:
        raise Refusal(
            "image",
            f"the image has {image.width}x{image.height} pixels in a file of "
            f"{len(content):,} bytes and "
            f"would take {needed >> 20:,} MB of memory: scale it down",
        )


def _bytes_a_pixel(image: Image.Image) -> int:
    """The memory for decoding: that of the decoder, of Pillow's copy, and of the result."""
    kept = 1 if image.mode in _ONE_BYTE_MODES else 4
    if image.format in ("WEBP", "AVIF"):
        decoder = 10
    elif image.info.get("progressive"):
        decoder = 2 * len(image.getbands())
    else:
        decoder = 0
    return decoder + kept + 3


def _bytes_of_a_part(image: Image.Image) -> int:
    """The memory for each pixel of a TIFF's strip or tile: up to four channels of 16 bits.

    That of a picture with one byte a pixel is no larger than the result, which is made after it.
    """
    return 0 if image.mode in _ONE_BYTE_MODES else 8


def _rgb(image: Image.Image) -> Pixels:
    """The pixels, converted some rows at a time, so that no copy is as large as the image."""
    image.load()
    found = np.empty((image.height, image.width, 3), np.uint8)
    is_deep, is_transparent = image.mode in _DEEP_MODES, image.has_transparency_data
    low, span = _range(image) if is_deep else (0.0, 1.0)
    for top, strip in _strips(image):
        rows = found[top : top + strip.height]
        if is_deep:
            grey = (np.asarray(strip, np.float32) - low) / span * 255
            rows[:] = np.nan_to_num(grey).astype(np.uint8)[..., None]
        elif is_transparent:
            # The editor's page shows through transparent pixels.
            page = Image.new("RGBA", strip.size, "white")
            rows[:] = np.asarray(Image.alpha_composite(page, strip.convert("RGBA")).convert("RGB"))
        else:
            rows[:] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return found


def _range(image: Image.Image) -> tuple[float, float]:
    """Pixels of more than 8 bits, of which few are used: scales the range of the file to 8 bits."""
    values = [np.asarray(strip, np.float32) for _, strip in _strips(image)]
    low = min(float(np.nanmin(some)) for some in values)
    high = max(float(np.nanmax(some)) for some in values)
    return low, high - low if high > low else 1.0


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Some rows at a time, with the number of the first one."""
    step = max(1, _PIXELS_AT_ONCE // image.width)
    for top in range(0, image.height, step):
        yield top, image.crop((0, top, image.width, min(top + step, image.height)))


def _upright(pixels: Pixels, orientation: object) -> Pixels:
    """Turns the picture upright, by its Exif orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
