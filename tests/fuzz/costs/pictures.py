"""Image files that claim much and hold little, or take long to read."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

from tests import fakes
from tests.fuzz.costs.family import (
    Draw,
    Made,
    click,
    data_url,
    family,
    filled,
    numbers,
    opened,
    task,
)
from tests.fuzz.costs.regions import PNG, chunk, one_colour, png


def _sent(draw: Draw, content: bytes, width: int = 400, height: int = 300) -> Made:
    number = struct.pack(">Q", next(numbers))
    tasks = [task(data_url(content[: draw.size * 3 // 4] + number))]
    size: dict[str, Any] = {"original_width": width, "original_height": height}
    if draw.one_of(True, False):
        return opened(tasks)
    return click(tasks, [fakes.keypoint("p", 50, 50, **size)])


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _side(draw: Draw, bytes_a_pixel: float, most: int = 14_100) -> int:
    """Of a square whose file has about the size that is wanted."""
    return min(most, max(8, int((draw.size * 0.75 / bytes_a_pixel) ** 0.5)))


@family("picture: one colour, large, PNG", goes_on=True)
def _flat_png(draw: Draw) -> Made:
    colour, depth = draw.one_of((0, 1), (0, 8), (2, 8), (6, 8), (3, 8), (4, 8), (0, 16), (2, 16))
    packed_bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    side = _side(draw, packed_bits / 8 / 1030)
    return _sent(draw, png(side, side, colour, depth), side, side)


@family("picture: one colour, large, interlaced", goes_on=True)
def _interlaced(draw: Draw) -> Made:
    side = _side(draw, 1 / 800, 12_000)
    return _sent(draw, png(side, side, 0, 8, interlaced=True), side, side)


@family("picture: one colour, large, JPEG", goes_on=True)
def _flat_jpeg(draw: Draw) -> Made:
    side = _side(draw, 1 / 250, 14_000)
    mode = draw.one_of("L", "RGB")
    options = {"progressive": draw.one_of(True, False), "quality": 20}
    return _sent(draw, _saved(Image.new(mode, (side, side)), "JPEG", **options), side, side)


@family("picture: one colour, large, other formats", goes_on=True)
def _flat_others(draw: Draw) -> Made:
    kind, share = draw.one_of(("GIF", 1 / 300), ("WEBP", 1 / 4000), ("TIFF", 1 / 4000))
    side = _side(draw, share, draw.one_of(2000, 8000, 14_000) if kind != "WEBP" else 8000)
    return _sent(draw, one_colour(side, side, kind), side, side)


@family("picture: large by its header alone", goes_on=True)
def _claims(draw: Draw) -> Made:
    side = draw.one_of(4000, 10_000, 14_000, 14_143, 30_000, 65_000)
    if draw.one_of(True, False) and side > 20_000:
        side = 14_000
    content = draw.one_of(
        lambda: png(8, 8, 2, 8).replace(struct.pack(">II", 8, 8), struct.pack(">II", side, side)),
        lambda: (
            b"GIF89a"
            + struct.pack("<HH", side, side)
            + b"\x00\x00\x00,"
            + struct.pack("<HHHH", 0, 0, side, side)
            + b"\x00\x08\x02\x84\x51\x00;"
        ),
        lambda: (
            b"BM"
            + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 1, 1, 0, 0)
        ),
        lambda: _with_jpeg_size(_saved(Image.new("RGB", (8, 8)), "JPEG"), side),
        lambda: _with_jpeg_size(_saved(Image.new("L", (8, 8)), "JPEG", progressive=True), side),
        lambda: _tiff(side, side, [(273, 4, 8), (279, 4, 10)]),
    )()
    content = _rechecked(content) if content.startswith(PNG) else content
    return _sent(draw, content + bytes(draw.size // 2), side, side)


def _rechecked(content: bytes) -> bytes:
    head = content[12:29]
    return content[:29] + struct.pack(">I", zlib.crc32(head)) + content[33:]


def _with_jpeg_size(content: bytes, side: int) -> bytes:
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        at = content.find(marker)
        if at >= 0:
            return content[: at + 5] + struct.pack(">HH", side, side) + content[at + 9 :]
    return content


def _tiff(width: int, height: int, more: list[tuple[int, int, int]]) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1)]
    return _ifds([sorted([*tags, *more])])


def _ifds(directories: list[list[tuple[int, int, int]]]) -> bytes:
    """A TIFF of directories, each tag with one number."""
    out, at = bytearray(b"II*\x00" + struct.pack("<I", 8)), 8
    for number, tags in enumerate(directories):
        at += 2 + 12 * len(tags) + 4
        out += struct.pack("<H", len(tags))
        for tag, kind, value in tags:
            out += struct.pack("<HHII", tag, kind, 1, value)
        out += struct.pack("<I", at if number + 1 < len(directories) else 0)
    return bytes(out)


@family("picture: a JPEG of many scans", goes_on=True)
def _scans(draw: Draw) -> Made:
    """Each scan goes over the whole picture again."""
    side = draw.one_of(64, 1000, 3000, 8000)
    content = _saved(Image.new("L", (side, side)), "JPEG", progressive=True, quality=50)
    first = content.find(b"\xff\xda")
    second = content.find(b"\xff\xda", first + 2)
    end = content.rfind(b"\xff\xd9")
    second = second if second > 0 else end
    scan = draw.one_of(content[first:second], content[second:end] or content[first:end])
    head, count = content[:end], draw.size * 3 // 4 // max(1, len(scan))
    most = draw.one_of(10, 100, 1000, 10**6)
    return _sent(draw, head + scan * min(count, most) + b"\xff\xd9", side, side)


@family("picture: a JPEG of small scans", goes_on=True)
def _small_scans(draw: Draw) -> Made:
    """A scan of a few bytes, for a picture that is as large as its header says."""
    side = draw.one_of(1000, 4000, 10_000)
    content = _with_jpeg_size(_saved(Image.new("L", (8, 8)), "JPEG", progressive=True), side)
    first, end = content.find(b"\xff\xda"), content.rfind(b"\xff\xd9")
    scan = content[first:end]
    return _sent(draw, content[:end] + scan * (draw.size * 3 // 4 // len(scan)), side, side)


@family("picture: a JPEG of many segments", goes_on=True)
def _segments(draw: Draw) -> Made:
    content = _saved(Image.new("RGB", (40, 30)), "JPEG")
    tables = content[content.find(b"\xff\xc4") : content.find(b"\xff\xda")]
    one = draw.one_of(
        b"\xff\xe1\x00\x08Exif\x00\x00",
        b"\xff\xed\x00\x12Photoshop 3.0\x008B",
        b"\xff\xe2\x00\x10ICC_PROFILE\x00\x01",
        b"\xff\xfe\x00\x02",
        tables,
        b"\xff",
        b"\xff\xdd\x00\x04\x00\x01",
        b"\xff\xe2\x00\x06MPF\x00",
    )
    return _sent(draw, content[:2] + one * (draw.size * 3 // 4 // len(one)) + content[2:], 40, 30)


@family("picture: a PNG of many chunks", goes_on=True)
def _chunks(draw: Draw) -> Made:
    content = png(40, 30, 2, 8)
    bomb = zlib.compress(bytes(draw.one_of(1000, 50_000_000)), 9)
    one = draw.one_of(
        chunk(b"tEXt", b"a\x00b"),
        chunk(b"zTXt", b"a\x00\x00" + bomb),
        chunk(b"iTXt", b"a\x00\x01\x00\x00\x00" + bomb),
        chunk(b"iCCP", b"a\x00\x00" + bomb),
        chunk(b"eXIf", b"II*\x00\x08\x00\x00\x00\x00\x00"),
        chunk(b"IDAT", b""),
        chunk(b"fdAT", bytes(4)),
        chunk(b"aaAa", b""),
    )
    pieces = one * (draw.size * 3 // 4 // len(one))
    return _sent(draw, content[:33] + pieces + content[33:], 40, 30)


@family("picture: many frames", goes_on=True)
def _frames(draw: Draw) -> Made:
    kind = draw.one_of("GIF", "PNG", "WEBP")
    side = draw.one_of(8, 500)
    frames = [Image.new("RGB", (side, side), (n % 256, 0, 0)) for n in range(60)]
    content = _saved(frames[0], kind, save_all=True, append_images=frames[1:])
    if kind == "GIF":
        at = content.find(b"\x21\xf9", content.find(b"\x21\xf9") + 2)
        content = content[:-1] + content[at:-1] * (draw.size * 3 // 4 // len(content)) + b";"
    return _sent(draw, content, side, side)


@family("picture: a TIFF of many tags", goes_on=True)
def _tags(draw: Draw) -> Made:
    count = draw.size * 3 // 4 // 12
    tags = [(256, 4, 40), (257, 4, 30), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    content = draw.one_of(
        lambda: _ifds([tags + [(700 + n, 4, n) for n in range(min(count, 60_000))]]),
        lambda: _ifds([tags + [(330, 4, 8)] * min(count, 60_000)]),
        lambda: _ifds([tags] * (count // 6)),
        lambda: _ifds([[*tags, (34_665, 4, 8), (34_853, 4, 8)]] * (count // 8)),
        lambda: _strips(count),
    )()
    return _sent(draw, content, 40, 30)


def _strips(count: int) -> bytes:
    """A strip for each row, all of them the same bytes."""
    out = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", 8)
    for tag, kind, many, value in (
        (256, 4, 1, 4000),
        (257, 4, 1, count),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, count, 110),
        (278, 4, 1, 1),
        (279, 4, 1, 4000),
    ):
        out += struct.pack("<HHII", tag, kind, many, value)
    return out + struct.pack("<I", 0) + struct.pack("<I", 8) * count


@family("picture: a TIFF, packed", goes_on=True)
def _packed_tiff(draw: Draw) -> Made:
    compression, mode = draw.one_of(
        ("tiff_lzw", "L"),
        ("tiff_adobe_deflate", "RGB"),
        ("packbits", "L"),
        ("group4", "1"),
        ("tiff_adobe_deflate", "I;16"),
        ("tiff_adobe_deflate", "F"),
        ("tiff_adobe_deflate", "CMYK"),
    )
    side = _side(draw, 1 / 200, draw.one_of(1000, 5000, 9000))
    return _sent(
        draw, _saved(Image.new(mode, (side, side)), "TIFF", compression=compression), side, side
    )


@family("picture: EXIF", goes_on=True)
def _exif(draw: Draw) -> Made:
    exif = Image.Exif()
    exif[0x0112] = draw.one_of(1, 3, 6, 8)
    exif[0x010E] = "x" * min(60_000, draw.size // 2)
    side = draw.one_of(40, 2000)
    content = _saved(Image.new("RGB", (side, side)), "JPEG", exif=exif.tobytes())
    return _sent(draw, content, side, side)


@family("picture: thin", goes_on=True)
def _thin(draw: Draw) -> Made:
    long = min(draw.one_of(1000, 60_000, 10**6), 65_000 * draw.size // 1000)
    width, height = draw.one_of((long, 1), (1, long), (long, 3))
    return _sent(draw, png(width, height, 0, 8), width, height)


@family("picture: real ones, damaged", goes_on=True)
def _damaged(draw: Draw) -> Made:
    kind = draw.one_of("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
    side = min(draw.one_of(40, 400), _side(draw, 3))
    content = bytearray(fakes.picture(side, side, kind))
    for _ in range(draw.one_of(1, 2, 8)):
        at = draw.dice.randrange(min(len(content), draw.one_of(40, 400, len(content))))
        content[at] = draw.one_of(0, 255, draw.dice.randrange(256))
    return _sent(draw, bytes(content), side, side)


@family("picture: noise", goes_on=True)
def _noise(draw: Draw) -> Made:
    start = draw.one_of(
        PNG,
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
        b"RIFF\xff\xff\xff\x00WEBPVP8 ",
        b"II*\x00",
        b"\x00\x00\x00\x20ftypavif",
        b"BM",
        b"",
    )
    return _sent(draw, start + draw.dice.randbytes(draw.size * 3 // 4))


@family("a click in many new images")
def _many_new_images(draw: Draw) -> Made:
    content = fakes.picture()
    unknown = filled(draw, lambda _: task(data_url(content + str(next(numbers)).encode())), most=16)
    return click(unknown)
