"""How much of a TIFF is decoded, by its first directory. Pure.

A tile is decoded whole, however little of it lies in the picture. Without tiles, the decoder works
on some rows at once. The directory is read here, because Pillow skips entries of types that libtiff
reads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ROWS_A_STRIP, _WIDTH, _LENGTH = 278, 322, 323
_NUMBERS = {3: "H", 4: "I"}  # the types that writers use: 16 and 32 bits


@dataclass(frozen=True)
class _Layout:
    """Where the parts of a directory are, and how their numbers are written."""

    begin: struct.Struct  # the place of the first directory
    begin_at: int
    count: struct.Struct  # of entries
    entry: struct.Struct  # tag, type, and the bytes of the value


def _layout(order: str, *, big: bool) -> _Layout:
    forms = ("Q", 8, "Q", "HH8x8s") if big else ("I", 4, "H", "HH4x4s")
    begin, begin_at, count, entry = forms
    return _Layout(
        struct.Struct(order + begin),
        begin_at,
        struct.Struct(order + count),
        struct.Struct(order + entry),
    )


_LAYOUTS = {
    b"II*\0": ("<", _layout("<", big=False)),
    b"MM\0*": (">", _layout(">", big=False)),
    b"II+\0": ("<", _layout("<", big=True)),
    b"MM\0+": (">", _layout(">", big=True)),
}


@dataclass(frozen=True)
class Decoding:
    """How many pixels are decoded, and how many of them at once."""

    pixels: int
    at_once: int


def decoding(content: bytes, width: int, height: int) -> Decoding:
    """The decoding of a picture of this size. ValueError for invalid tiles."""
    sizes = _sizes(content)
    if not sizes.keys() & {_WIDTH, _LENGTH}:
        rows = sizes.get(_ROWS_A_STRIP, 0) or height
        return Decoding(width * height, width * min(rows, height))
    across, down = sizes.get(_WIDTH, 0), sizes.get(_LENGTH, 0)
    if not across or not down:
        raise ValueError("its tiles have no size")
    return Decoding(_padded(width, across) * _padded(height, down), across * down)


def _sizes(content: bytes) -> dict[int, int]:
    """The sizes of tiles and strips that the directory names first, by their tags."""
    found: dict[int, int] = {}
    if content[:4] not in _LAYOUTS:
        return found
    order, layout = _LAYOUTS[content[:4]]
    try:
        (at,) = layout.begin.unpack_from(content, layout.begin_at)
        (count,) = layout.count.unpack_from(content, at)
        begin = at + layout.count.size
        entries = content[begin : begin + count * layout.entry.size]
        whole = len(entries) - len(entries) % layout.entry.size
        for tag, kind, value in layout.entry.iter_unpack(entries[:whole]):
            if tag in (_ROWS_A_STRIP, _WIDTH, _LENGTH) and tag not in found:
                (found[tag],) = struct.unpack_from(order + _NUMBERS[kind], value)
    except (struct.error, KeyError, OverflowError):
        raise ValueError("its directory is not that of a picture") from None
    return found


def _padded(side: int, tile: int) -> int:
    return -(-side // tile) * tile
