"""The pixels that the annotator sees, from whatever file the task points at."""

import io

import numpy as np
import pytest
from PIL import Image

from sam_backend.errors import Refusal
from sam_backend.formats import pictures
from sam_backend.formats.pictures import Pixels


def saved(image: Image.Image, fmt: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def corners(width: int = 60, height: int = 40) -> Image.Image:
    """Red at the top left, blue at the bottom right."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[:10, :10] = (255, 0, 0)
    pixels[-10:, -10:] = (0, 0, 255)
    return Image.fromarray(pixels)


def is_red(pixels: Pixels, row: int, column: int) -> bool:
    red, green, blue = (int(v) for v in pixels[row, column])
    return red > 180 and green < 80 and blue < 80


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_the_usual_formats(fmt: str) -> None:
    pixels = pictures.decode(saved(corners(), fmt))
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert is_red(pixels, 3, 3)


@pytest.mark.parametrize(
    ("orientation", "shape", "red_at"),
    [
        (1, (40, 60), (3, 3)),
        (2, (40, 60), (3, 56)),
        (3, (40, 60), (36, 56)),
        (4, (40, 60), (36, 3)),
        (5, (60, 40), (3, 3)),
        (6, (60, 40), (3, 36)),
        (7, (60, 40), (56, 36)),
        (8, (60, 40), (56, 3)),
    ],
)
def test_a_camera_held_sideways(
    orientation: int, shape: tuple[int, int], red_at: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = pictures.decode(saved(corners(), "JPEG", exif=exif))
    assert pixels.shape[:2] == shape
    assert is_red(pixels, *red_at)


def test_grayscale_and_palette_become_colour() -> None:
    assert pictures.decode(saved(corners().convert("L"), "PNG")).shape == (40, 60, 3)
    assert is_red(pictures.decode(saved(corners().convert("P"), "PNG")), 3, 3)


def test_cmyk_print_files_become_colour() -> None:
    assert is_red(pictures.decode(saved(corners().convert("CMYK"), "JPEG")), 3, 3)


def test_where_nothing_is_painted_the_white_page_shines_through() -> None:
    image = corners().convert("RGBA")
    image.putalpha(
        Image.fromarray(np.where(np.arange(60) < 30, 255, 0).astype(np.uint8)[None].repeat(40, 0))
    )
    pixels = pictures.decode(saved(image, "PNG"))
    assert is_red(pixels, 3, 3)
    assert pixels[20, 45].tolist() == [255, 255, 255]


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_sixteen_bits_show_their_own_range(fmt: str) -> None:
    """A microscope uses 12 of 16 bits: shown as they are, all would be black."""
    values = np.linspace(100, 4095, 60 * 40).reshape(40, 60).astype(np.uint16)
    pixels = pictures.decode(saved(Image.fromarray(values), fmt))
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[-1, -1].tolist() == [255, 255, 255]


def test_floats_with_holes_and_a_flat_image() -> None:
    values = np.full((4, 5), 7, np.float32)
    assert pictures.decode(saved(Image.fromarray(values), "TIFF")).max() == 0
    values[0, 0] = np.nan
    values[1, 1] = 9
    assert pictures.decode(saved(Image.fromarray(values), "TIFF"))[1, 1, 0] == 255


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [corners(), Image.new("RGB", (60, 40), "white")]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert is_red(pictures.decode(content), 3, 3)


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"%PDF-1.7", b"\xff\xd8\xff\xe0 not really"])
def test_an_invalid_image_is_refused(content: bytes) -> None:
    with pytest.raises(Refusal, match=r"not an image of a known format|damaged"):
        pictures.decode(content)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_a_file_that_breaks_off_is_refused(fmt: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    content = saved(Image.fromarray(noise), fmt)
    with pytest.raises(Refusal, match="damaged"):
        pictures.decode(content[: len(content) // 2])


def test_an_image_of_too_many_pixels_is_refused_by_its_header() -> None:
    with pytest.raises(Refusal, match="60x40 pixels"):
        pictures.decode(saved(corners(), "PNG"), 60 * 40 - 1)
