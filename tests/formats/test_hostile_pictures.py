"""Files that are made to hurt whoever decodes them: refused in one line, fast, in little memory."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from sam_backend.errors import Refusal
from sam_backend.formats import pictures
from sam_backend.formats.pictures import Pixels
from tests.costs import assert_cheap, assert_linear, cost_of
from tests.fakes import picture, plain_picture
from tests.needs import REPOSITORY

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n%%EOF\n"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width: int, height: int, *more: bytes, pixels: bytes = b"") -> bytes:
    """A PNG of 8-bit grey that says to be of this size, whatever is in it."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = png_chunk(b"IDAT", pixels or zlib.compress(bytes((width + 1) * height)))
    return b"".join((b"\x89PNG\r\n\x1a\n", head, *more, data, png_chunk(b"IEND", b"")))


@pytest.mark.parametrize(
    "content",
    [
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
        EPS,
        b"P6 40 40 255\n" + bytes(4800),
        b"#!/bin/sh\necho\n",
        b"PK\x03\x04" + bytes(40),
        b"GIF89a",
        b"II*\x00\xff\xff\xff\xff",
        b"RIFF\xff\xff\xff\xffWEBPVP8X",
        bytes(1000),
    ],
    ids=["svg", "pdf", "eps", "ppm", "script", "zip", "gif", "tiff", "webp", "zeros"],
)
def test_other_formats_than_photographs_and_scans(content: bytes) -> None:
    with pytest.raises(Refusal, match=r"known format \(JPEG, PNG|damaged"):
        pictures.decode(content)


def test_no_other_program_is_called_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow would hand this one to Ghostscript."""
    called = tmp_path / "called"
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {called}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Refusal):
        pictures.decode(EPS)
    assert not called.exists()


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG"])
def test_of_five_hundred_frames_one_is_decoded(fmt: str) -> None:
    out = io.BytesIO()
    first = Image.open(io.BytesIO(picture(64, 48)))
    others = [Image.new("RGB", (64, 48), (n % 256, n // 256, 0)) for n in range(500)]
    first.save(out, fmt, save_all=True, append_images=others)
    pixels = pictures.decode(out.getvalue())
    assert pixels.shape == (48, 64, 3)
    assert pixels[:3, :3].max() < 10  # the first one's
    assert pixels[-3:, -3:].min() > 30


@pytest.mark.parametrize(
    "content",
    [
        png(100_000, 100_000, pixels=zlib.compress(bytes(1 << 20))),
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + picture(40, 30, "GIF")[10:],
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 60000, 60000, 1, 24, *[0] * 6),
    ],
    ids=["png", "gif", "bmp"],
)
def test_a_small_file_that_says_to_be_huge(content: bytes) -> None:
    with pytest.raises(Refusal, match=r"over 200 million \(MAX_IMAGE_MEGAPIXELS\)|damaged"):
        pictures.decode(content)


def test_fewer_pixels_than_the_header_says() -> None:
    with pytest.raises(Refusal, match="damaged"):
        pictures.decode(png(4000, 4000, pixels=zlib.compress(bytes(1000))))


def decoded(content: bytes, most: int = pictures.MOST_PIXELS) -> Pixels | str:
    """The pixels, or why there are none."""
    try:
        return pictures.decode(content, most)
    except Refusal as refusal:
        return str(refusal)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_bomb_in_what_is_written_beside_the_pixels(kind: bytes) -> None:
    bomb = zlib.compress(bytes(256 << 20), 9)
    text = {
        b"zTXt": b"Comment\x00\x00" + bomb,
        b"iTXt": b"Comment\x00\x01\x00\x00\x00" + bomb,
        b"iCCP": b"profile\x00\x00" + bomb,
    }[kind]
    found = decoded(png(40, 30, png_chunk(kind, text)))
    assert "damaged" in found if isinstance(found, str) else found.shape == (30, 40, 3)


def test_many_bombs_in_one_file() -> None:
    text = PngImagePlugin.PngInfo()
    for n in range(200):
        text.add_text(f"k{n}", " " * (1 << 20), zip=True)
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(out, "PNG", pnginfo=text)
    with pytest.raises(Refusal, match="damaged"):
        pictures.decode(out.getvalue())


def in_process(code: str, megabytes: int) -> str:
    """What a program prints that may use so much memory on top of what Python and Pillow take."""
    program = f"""
        import resource, sys
        sys.path.insert(0, {str(REPOSITORY)!r})
        import io, numpy
        from PIL import Image
        from sam_backend.formats import pictures
        from sam_backend.errors import Refusal
        Image.new("RGB", (9, 9)).save(io.BytesIO(), "JPEG")
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        limit = used + ({megabytes} << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    """
    source = textwrap.dedent(program) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def large_file(path: Path) -> None:
    """A hundred megapixels, in as many bytes as a camera writes at least."""
    with path.open("wb") as file:
        Image.new("RGB", (10_000, 10_000), (9, 8, 7)).save(file, "JPEG")
        file.write(bytes(4 << 20))


def test_a_hundred_megapixels_take_seven_bytes_each(tmp_path: Path) -> None:
    large_file(tmp_path / "a.jpg")
    assert "(10000, 10000, 3)" in in_process(
        f"print(pictures.decode(open({str(tmp_path / 'a.jpg')!r}, 'rb').read()).shape)", 800
    )


def test_memory_that_is_not_there_is_a_refusal(tmp_path: Path) -> None:
    large_file(tmp_path / "a.jpg")
    output = in_process(
        f"""
        try:
            pictures.decode(open({str(tmp_path / "a.jpg")!r}, "rb").read())
        except Refusal as refusal:
            print("refused:", refusal)
        """,
        150,
    )
    assert "refused: there is not enough memory" in output


@pytest.mark.parametrize(
    ("fmt", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "1", {}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("WEBP", "RGBA", {"lossless": True, "quality": 0}),
        ("AVIF", "RGB", {"speed": 10}),
        ("TIFF", "F", {"compression": "tiff_deflate"}),
    ],
)
def test_a_small_file_takes_little_memory_however_many_pixels_it_has(
    fmt: str, mode: str, options: dict[str, Any]
) -> None:
    """The largest one of its kind that is decoded."""
    image = Image.new(mode, (10, 10))
    image.format, image.info["progressive"] = fmt, "progressive" in options
    in_one_strip = fmt == "TIFF"
    each = pictures._bytes_a_pixel(image) + in_one_strip * pictures._bytes_of_a_part(image)
    side = int((pictures._MOST_BYTES / each) ** 0.5)
    options = options | ({"strip_size": 1 << 30} if in_one_strip else {})
    cost = cost_of(pictures.decode, plain_picture(mode, side, fmt, **options))
    assert cost.megabytes > 100, "it was refused"
    assert_cheap(cost)


def test_a_small_file_of_too_many_pixels_says_so() -> None:
    with pytest.raises(Refusal, match=r"14000x14000 pixels .* MB of memory: scale it down"):
        pictures.decode(plain_picture("1", 14_000, "PNG"))


@pytest.mark.parametrize("size", [(70_000, 1), (1, 70_000)])
def test_a_picture_that_is_a_long_line(size: tuple[int, int]) -> None:
    """Its outline would take gigabytes if it had some million pixels."""
    width, height = size
    with pytest.raises(Refusal, match=f"{width}x{height} pixels, and a side of over 65,535"):
        pictures.decode(png(width, height))


def test_a_jpeg_of_many_scans() -> None:
    """Each one is a few bytes, and looks at all pixels again."""
    content = plain_picture("RGB", 4000, "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    hostile = content[:-2] + scan * 10_000 + content[-2:]
    assert_cheap(cost_of(pictures.decode, hostile))
    with pytest.raises(Refusal, match="damaged: over 50 parts"):
        pictures.decode(hostile)


BOMB = zlib.compress(bytes(1_000_000), 9)


def exif(count: int) -> bytes:
    """A JPEG of many small Exif parts."""
    content = picture(40, 30)
    part = b"\xff\xe1" + struct.pack(">H", 18) + b"Exif\0\0" + bytes(10)
    return content[:2] + part * count + content[2:]


@pytest.mark.parametrize(
    "content_of",
    [
        lambda size: exif(100_000 * size),
        lambda size: png(40, 30, png_chunk(b"iCCP", b"p\0\0" + BOMB) * 900 * size),
        lambda size: png(40, 30, png_chunk(b"zzZz", b"") * 80_000 * size),
    ],
    ids=["exif", "colour profiles", "chunks"],
)
def test_many_parts_beside_the_pixels(content_of: Callable[[int], bytes]) -> None:
    assert_linear(pictures.decode, content_of)
    assert_cheap(cost_of(pictures.decode, content_of(1)))


def as_file(fmt: str, **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, fmt, **options)
    return out.getvalue()


FILES = [as_file(fmt) for fmt in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")] + [
    as_file("TIFF", compression="tiff_lzw"),
    as_file("JPEG", progressive=True),
]


@given(
    st.integers(0, len(FILES) - 1),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 7)), max_size=6),
    st.integers(0, 5000) | st.just(0),
)
@pytest.mark.filterwarnings("ignore")  # of Pillow, about what is odd in a file
def test_a_damaged_file_is_an_image_or_a_refusal(
    which: int, flips: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(FILES[which])
    for place, bit in flips:
        damaged[place % len(damaged)] ^= 1 << bit
    content = bytes(damaged[: len(damaged) - cut % len(damaged)])
    found = decoded(content, 1_000_000)
    assert "\n" not in found if isinstance(found, str) else found.dtype == np.uint8
