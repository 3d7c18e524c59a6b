"""Masks that a task has already: polygons, brush masks and bitmasks, in drafts and annotations."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from sam_backend.formats import rle
from tests import fakes
from tests.fuzz.costs.family import (
    SIZE,
    Draw,
    Made,
    clicked_or_opened,
    data_url,
    family,
    filled,
    post,
    saved,
    task,
)

_SIDES = (300, 2000, 8000, 14_000, 30_000, 100_000, 2**31)


def region(id_: str, kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "type": kind,
        "from_name": "tag",
        "to_name": "image",
        **SIZE,
        "value": {**value, kind: ["Car"]},
        **more,
    }


def _sent(draw: Draw, results: list[Any]) -> Made:
    return clicked_or_opened(draw, saved(draw, results))


def _polygon(points: list[Any], id_: str = "a", **more: Any) -> dict[str, Any]:
    return region(id_, "polygonlabels", {"points": points, "closed": True}, **more)


def _place(draw: Draw) -> list[float]:
    return [draw.dice.randrange(1000) / 10, draw.dice.randrange(1000) / 10]


@family("polygon: many points", goes_on=True)
def _points(draw: Draw) -> Made:
    shape = draw.one_of("zigzag", "comb", "random", "line", "far")
    height = draw.one_of(300, 3000, 10_000)
    size: dict[str, Any] = {"original_width": draw.one_of(400, 3000), "original_height": height}
    places: dict[str, Callable[[int], list[float]]] = {
        "zigzag": lambda n: [n % 100, 100 * (n % 2)],
        "comb": lambda n: [100 * (n // 2 % 2), n % 100],
        "random": lambda _n: _place(draw),
        "line": lambda n: [n % 100, 50],
        "far": lambda n: [1e9 * (n % 3 - 1), 1e9 * (n % 5 - 2)],
    }
    points = [places[shape](n) for n in range(draw.size // 11)]
    return _sent(draw, [_polygon(points, **draw.one_of(SIZE, size))])


@family("polygon: few points on a large picture", goes_on=True)
def _large(draw: Draw) -> Made:
    side = draw.one_of(*_SIDES)
    size: dict[str, Any] = {"original_width": side, "original_height": draw.one_of(side, 1, 300)}
    corners = [[0, 0], [100, 0], [100, 100], [0, 100]]
    count = max(1, draw.size // 300)
    return _sent(draw, [_polygon(corners, f"a{n}", **size) for n in range(count)])


@family("polygon: many of them", goes_on=True)
def _polygons(draw: Draw) -> Made:
    tall = draw.one_of([[0, 0], [1, 100], [2, 0]], [[0, 0], [100, 0], [100, 100], [0, 100]])
    one = draw.one_of(True, False)
    return _sent(draw, filled(draw, lambda n: _polygon(tall, f"a.{n}" if one else f"a{n}")))


@family("polygon: odd numbers", goes_on=True)
def _odd_points(draw: Draw) -> Made:
    odd = draw.one_of(
        [1e308, -1e308], [1e-320, 5], ["1", "2"], [[1, 2], [3, 4]], [None, 1], [2**63, -(2**62)], 7
    )
    return _sent(draw, [_polygon([odd, *filled(draw, lambda _: odd), [1, 2]])])


def _bits(bits: str) -> list[int]:
    return [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]


def _header(pixels: int, sizes: tuple[int, ...] = (3, 4, 8, 16)) -> str:
    return f"{pixels * 4 % 2**32:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)


def _brush(numbers: object, id_: str = "a", **more: Any) -> dict[str, Any]:
    return region(id_, "brushlabels", {"format": "rle", "rle": numbers}, **more)


@family("brush: runs of every length", goes_on=True)
def _runs(draw: Draw) -> Made:
    """As many and as long runs as fit, on a picture that is as large as they are or claim."""
    size = draw.one_of(1, 4, 8, 16)
    block = draw.one_of("1", "0") + "00" + draw.one_of("0", "1") * size + "1" * 8
    side = draw.one_of(*_SIDES[:-1])
    bits = _header(side * side, (size, 16, 16, 16)) + block * (2 * draw.size // len(block))
    place: dict[str, Any] = {"original_width": side, "original_height": side}
    return _sent(draw, [_brush(_bits(bits), **draw.one_of(SIZE, place))])


@family("brush: a real mask, ragged", goes_on=True)
def _ragged(draw: Draw) -> Made:
    side = int((draw.size / 4) ** 0.5 * draw.one_of(1, 2, 4))
    dice = np.random.default_rng(draw.dice.randrange(2**32))
    mask = dice.random((side, side)) < draw.one_of(0.0, 0.001, 0.01, 0.1, 0.5)
    place: dict[str, Any] = {"original_width": side, "original_height": side}
    numbers = rle.encode(mask)[: draw.size // 4]
    return _sent(draw, [_brush(numbers, **place)])


@family("brush: many masks", goes_on=True)
def _masks(draw: Draw) -> Made:
    side = draw.one_of(300, 3000, 12_000)
    flat = rle.encode(np.ones((side, side), bool)) if side <= 3000 else [0] * 40
    size: dict[str, Any] = {"original_width": side, "original_height": side}
    one = draw.one_of(True, False)
    return _sent(draw, filled(draw, lambda n: _brush(flat, f"a.{n}" if one else f"a{n}", **size)))


@family("brush: not a mask", goes_on=True)
def _no_masks(draw: Draw) -> Made:
    junk: object = draw.one_of(
        ["1"] * (draw.size // 4),
        "1," * (draw.size // 2),
        " " * draw.size,
        [1.5] * (draw.size // 4),
        [-1] * (draw.size // 3),
        [999] * (draw.size // 4),
        [2**40] * (draw.size // 15),
        [[1]] * (draw.size // 4),
        {"a": 1},
        [255] * (draw.size // 4),
        [0] * (draw.size // 2),
    )
    return _sent(draw, [_brush(junk)])


def one_colour(width: int, height: int, kind: str) -> bytes:
    """A picture file of one colour, whose rows are made without the whole of it."""
    if kind == "PNG":
        return png(width, height, 0, 1)
    out = io.BytesIO()
    options = {"compression": "tiff_adobe_deflate"} if kind == "TIFF" else {}
    mode = "1" if kind in ("TIFF", "BMP") else "L"
    Image.new(mode, (width, height)).save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, colour: int, depth: int, *, interlaced: bool = False) -> bytes:
    """A PNG of zeros; its rows are packed one at a time."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * channels * depth + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    return PNG + chunk(b"IHDR", head) + palette + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


PNG = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def _bitmask(url: str, id_: str = "a", **more: Any) -> dict[str, Any]:
    return region(id_, "bitmasklabels", {"imageDataURL": url}, **more)


@family("bitmask: a large picture", goes_on=True)
def _large_bitmask(draw: Draw) -> Made:
    side = int(draw.one_of(0.25, 0.5, 1) * 12_000 * (draw.size / 1_000_000) ** 0.5) + 8
    content = one_colour(side, side, draw.one_of("PNG", "TIFF", "GIF", "BMP", "JPEG"))
    content = content[: draw.size * 3 // 4]
    own: dict[str, Any] = {"original_width": side, "original_height": side}
    return _sent(draw, [_bitmask(data_url(content), **draw.one_of(SIZE, own))])


@family("bitmask: many of them", goes_on=True)
def _bitmasks(draw: Draw) -> Made:
    kind, side = draw.one_of("PNG", "GIF"), draw.one_of(300, 3000)
    url = data_url(one_colour(side, side, kind))
    one = draw.one_of(True, False)
    size: dict[str, Any] = {"original_width": side, "original_height": side}
    return _sent(draw, filled(draw, lambda n: _bitmask(url, f"a.{n}" if one else f"a{n}", **size)))


@family("bitmask: not a picture", goes_on=True)
def _no_bitmask(draw: Draw) -> Made:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 400 300\n%%EndComments\n"
    url = draw.one_of(
        data_url(bytes(draw.size // 2)),
        data_url(eps + b"x\n" * (draw.size // 4)),
        data_url(b"%PDF-1.7" + bytes(draw.size // 2)),
        "data:," + "A" * draw.size,
        "," * draw.size,
        "A" * draw.size,
        "data:image/png;base64," + "A " * (draw.size // 2),
    )
    return _sent(draw, [_bitmask(url)])


@family("regions: each its own image, size or label", goes_on=True)
def _targets(draw: Draw) -> Made:
    what = draw.one_of("to_name", "original_width", "item_index", "label", "id")
    box = {"points": [[0, 0], [50, 0], [50, 50]]}

    def make(n: int) -> dict[str, Any]:
        one = region(f"a{n}", "polygonlabels", box)
        if what == "label":
            one["value"]["polygonlabels"] = [f"L{n}"]
        elif what in ("to_name", "id"):
            one[what] = f"i{n}"
        else:
            one[what] = n + 1
        return one

    return _sent(draw, filled(draw, make))


@family("regions: one id, many results", goes_on=True)
def _one_id(draw: Draw) -> Made:
    def make(n: int) -> dict[str, Any]:
        kind = draw.one_of("labels", "brushlabels", "polygonlabels", "keypointlabels", "choices")
        return {"id": "a", "type": kind, **SIZE, "value": {kind: [f"L{n}"], "labels": ["Car"]}}

    return _sent(draw, filled(draw, make))


@family("regions: labels in number", goes_on=True)
def _labels(draw: Draw) -> Made:
    words = [f"L{n}" for n in range(draw.size // 9)]
    one = region("a", "polygonlabels", {"points": [[0, 0], [50, 0], [50, 50]]})
    one["value"]["polygonlabels"] = draw.one_of(words, ["Car"] * (draw.size // 6), [words])
    return _sent(draw, [one])


@family("regions: long words", goes_on=True)
def _words(draw: Draw) -> Made:
    piece = draw.one_of("x", ".1", ".", "1", "m-", "é", "\u0000", ".1x")
    long = piece * (draw.size // len(piece) // 6)
    key = draw.one_of("id", "type", "from_name", "to_name", "origin", "original_width")
    one = _polygon([[0, 0], [50, 0], [50, 50]])
    return _sent(draw, [{**one, key: long} for _ in range(draw.one_of(1, 5))])


@family("regions: drafts and annotations in number", goes_on=True)
def _drafts(draw: Draw) -> Made:
    when = draw.one_of("2026-01-01T00:00:00Z", "", None, "x" * 1000, 5, ["x"])
    inner = draw.one_of([], [fakes.keypoint("a", 5, 5)], None, [_polygon([[0, 0], [9, 0], [9, 9]])])
    many = filled(draw, lambda n: {"id": n, "updated_at": when, "result": inner})
    key = draw.one_of("drafts", "annotations", "predictions")
    return clicked_or_opened(draw, [task(**{key: many})])


@family("regions: prompts in drafts", goes_on=True)
def _draft_prompts(draw: Draw) -> Made:
    make = draw.one_of(
        lambda n: fakes.keypoint(f"k{n}", n % 100, 50),
        lambda n: fakes.rectangle(f"r{n}", n % 90, 5, 9, 9),
        lambda n: fakes.keypoint("p", n % 100, 50),
    )
    return _sent(draw, filled(draw, make))


@family("regions: saved masks of each answer")
def _webhook_masks(draw: Draw) -> Made:
    mask = _brush([0] * (draw.size // 4))
    body = {"action": "ANNOTATION_UPDATED", "task": {"id": 1}, "annotation": {"result": [mask]}}
    return post("/webhook", body)
