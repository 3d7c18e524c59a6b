"""Damaged image files of every format: pixels, or a Refusal in one line, in a short time."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from sam_backend.errors import Refusal
from sam_backend.formats import pictures
from tests.fakes import picture
from tests.fuzz.conftest import FACTOR

Count = Callable[[str], None]

TIMES = 220 * FACTOR
# Of a picture of 1,200 pixels that may claim to have very many.
LONGEST_S = 20

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, of what it finds in damaged files


def _saved(fmt: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    image = Image.open(io.BytesIO(picture(40, 30))).convert(mode)
    image.save(out, fmt, **options)
    return out.getvalue()


def _animated(fmt: str) -> bytes:
    frames = [Image.new("RGB", (40, 30), (n * 80, 0, 0)) for n in range(3)]
    out = io.BytesIO()
    frames[0].save(out, fmt, save_all=True, append_images=frames[1:])
    return out.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _saved("JPEG", exif=exif.tobytes())


FILES: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: _saved("PNG"),
    "PNG, 1 bit": lambda: _saved("PNG", "1"),
    "PNG, palette": lambda: _saved("PNG", "P", transparency=0),
    "PNG, 16 bit": lambda: _saved("PNG", "I;16"),
    "PNG, animated": lambda: _animated("PNG"),
    "JPEG": lambda: _saved("JPEG"),
    "JPEG, progressive": lambda: _saved("JPEG", progressive=True),
    "JPEG, CMYK": lambda: _saved("JPEG", "CMYK"),
    "JPEG, turned": _turned,
    "MPO": lambda: _animated("MPO"),
    "GIF": lambda: _saved("GIF", "P"),
    "GIF, animated": lambda: _animated("GIF"),
    "WEBP": lambda: _saved("WEBP"),
    "WEBP, lossless": lambda: _saved("WEBP", "RGBA", lossless=True),
    "WEBP, animated": lambda: _animated("WEBP"),
    "AVIF": lambda: _saved("AVIF"),
    "JPEG2000": lambda: _saved("JPEG2000"),
    "TIFF": lambda: _saved("TIFF"),
    "TIFF, LZW": lambda: _saved("TIFF", compression="tiff_lzw"),
    "TIFF, deflate": lambda: _saved("TIFF", "F", compression="tiff_adobe_deflate"),
    "TIFF, JPEG": lambda: _saved("TIFF", compression="jpeg"),
    "TIFF, fax": lambda: _saved("TIFF", "1", compression="group4"),
    "BMP": lambda: _saved("BMP"),
    "DIB": lambda: _saved("DIB"),
    "DDS": lambda: _saved("DDS"),
    "ICO": lambda: _saved("ICO"),
    "ICNS": lambda: _saved("ICNS"),
    "PCX": lambda: _saved("PCX"),
    "PPM": lambda: _saved("PPM"),
    "SGI": lambda: _saved("SGI"),
    "TGA": lambda: _saved("TGA"),
    "IM": lambda: _saved("IM"),
    "EPS": lambda: _saved("EPS"),
    "PDF": lambda: _saved("PDF"),
}
_SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///"/></svg>'
)


def _damaged(content: bytes, dice: random.Random) -> bytes:
    """Some bytes changed, most of them near the front, where the sizes are; or a piece cut out."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        at = dice.randrange(min(len(changed), dice.choice((40, 200, len(content)))))
        what = dice.randrange(6)
        if what == 0:
            changed[at] ^= 1 << dice.randrange(8)
        elif what == 1:
            changed[at] = dice.randrange(256)
        elif what == 2:
            changed[at : at + 4] = dice.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
        elif what == 3:
            del changed[at : at + dice.randrange(1, 64)]
        elif what == 4:
            changed[at:at] = changed[at : at + dice.randrange(1, 64)]
        else:
            del changed[max(at, 1) :]
        if not changed:
            break
    return bytes(changed)


def _decode(content: bytes) -> None:
    started = time.process_time()
    try:
        pixels = pictures.decode(content)
    except Refusal as refusal:
        lines = str(refusal).count("\n") + 1
    else:
        lines = 1
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] == (3,)
    assert lines == 1
    assert time.process_time() - started < LONGEST_S


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(tried: Count, name: str) -> None:
    content = FILES[name]()
    _decode(content)
    for number in range(TIMES):
        tried("image files")
        dice = random.Random(f"{name} {number}")
        damaged = _damaged(content, dice)
        try:
            _decode(damaged)
        except BaseException as error:
            raise AssertionError(f"{name}, number {number}: {damaged.hex()}") from error


def test_bytes_of_no_format(tried: Count) -> None:
    starts = [FILES[name]()[:12] for name in FILES] + [b"", b"%PDF-1.7", b"GIF89a", _SVG, b"BM"]
    for number in range(TIMES * 5):
        tried("image files")
        dice = random.Random(number)
        _decode(dice.choice(starts) + dice.randbytes(dice.randrange(300)))
