"""How many pixels an AVIF file makes a decoder decode. Pure.

The size that the file gives for an item need not be that of the frame inside, and the decoder makes
the whole frame before it scales it. So the frames' own headers are read here (AV1, 5.5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_CONTAINERS = (b"moov", b"mdia", b"minf", b"stbl")
_ONCE = (b"moov", b"idat", b"iinf", b"iloc")
_SEQUENCE_HEADER = 1  # the type of the unit that has the size of frames
_FRAMES = (3, 6)
_MOST_PARTS = 1_000
_LONGEST_HEADER = 400  # with all 32 operating points


@dataclass
class _Found:
    """Where the pictures of a file are: offsets and lengths."""

    content: bytes
    seen: set[bytes] = field(default_factory=set)  # boxes that a file has once
    pictures: set[int] = field(default_factory=set)  # the ids of items
    places: list[tuple[int, list[tuple[int, int]]]] = field(default_factory=list)
    in_meta: set[int] = field(default_factory=set)  # items whose offsets count from `idat`
    idat: int = 0
    samples: list[int] = field(default_factory=list)  # the first one of each track
    lengths: list[int] = field(default_factory=list)


def pixels(content: bytes) -> int:
    """The pixels of all frames that are decoded for the first picture. ValueError if none is found.

    Colours and transparency are two frames of the same pixels, so half of all frames count.
    """
    found = _Found(content)
    try:
        _read_boxes(found, 0, len(content), is_top=True)
        items = [
            [(at + found.idat * (item in found.in_meta), size) for at, size in places]
            for item, places in found.places
            if item in found.pictures
        ]
        tracks = [[place] for place in zip(found.samples, found.lengths, strict=True)]
        _check_parts([part for parts in items + tracks for part in parts], len(content))
        areas = [[_area(_joined(content, part)) for part in parts] for parts in (items, tracks)]
    except (struct.error, IndexError, OverflowError):
        raise ValueError("its parts cannot be found") from None
    most = max(max(*some, sum(some) // 2) for some in (*areas, [0, 0]) if some)
    if not most:
        raise ValueError("it has no picture")
    return most


def _check_parts(parts: list[tuple[int, int]], length: int) -> None:
    """Parts of a usual file do not overlap, but the first picture may be an item and a sample."""
    if len(parts) > _MOST_PARTS or sum(min(size, length) for _, size in parts) > 3 * length:
        raise ValueError("it has too many parts")


def _joined(content: bytes, part: list[tuple[int, int]]) -> bytes:
    return b"".join(content[at : at + size] for at, size in part)


def _boxes(content: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each box, and where its content begins and ends."""
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, begin)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, begin + 8)
            head = 16
        stop = end if size == 0 else begin + size
        if stop < begin + head or stop > end:
            raise ValueError("its boxes do not fit")
        yield kind, begin + head, stop
        begin = stop


def _read_boxes(found: _Found, begin: int, end: int, *, is_top: bool = False) -> None:
    for kind, start, stop in _boxes(found.content, begin, end):
        if kind in _ONCE:
            if kind in found.seen:  # another reader may use another one of them
                raise ValueError("it has two parts of one kind")
            found.seen.add(kind)
        if kind == b"trak":
            _read_track(found, start, stop)
        elif kind in _CONTAINERS:
            _read_boxes(found, start, stop)
        elif kind == b"meta" and is_top:
            _read_boxes(found, start + 4, stop)
        elif kind == b"idat":
            found.idat = start
        elif kind == b"iinf":
            _read_kinds(found, start, stop)
        elif kind == b"iloc":
            _read_places(found, start)
        else:
            _read_samples(found, kind, start)


def _read_samples(found: _Found, kind: bytes, begin: int) -> None:
    """The place and the length of a track's first sample."""
    if kind in (b"stco", b"co64"):
        form = ">I" if kind == b"stco" else ">Q"
        found.samples.append(struct.unpack_from(form, found.content, begin + 8)[0])
    elif kind == b"stsz":
        same, count = struct.unpack_from(">II", found.content, begin + 4)
        first = same or (struct.unpack_from(">I", found.content, begin + 12)[0] if count else 0)
        found.lengths.append(first)


def _read_track(found: _Found, begin: int, end: int) -> None:
    before = len(found.samples)
    _read_boxes(found, begin, end)
    if not len(found.samples) == len(found.lengths) <= before + 1:
        raise ValueError("it has two parts of one kind")


def _read_kinds(found: _Found, begin: int, end: int) -> None:
    version = found.content[begin]
    for kind, start, stop in _boxes(found.content, begin + (8 if version else 6), end):
        if kind == b"infe" and stop >= start + 12:
            form = ">HH4s" if found.content[start] == 2 else ">IH4s"
            item, _, item_kind = struct.unpack_from(form, found.content, start + 4)
            if item_kind == b"av01":
                found.pictures.add(item)


def _read_places(found: _Found, begin: int) -> None:
    content, version = found.content, found.content[begin]
    sizes, more = content[begin + 4], content[begin + 5]
    offset_bytes, length_bytes, base_bytes = sizes >> 4, sizes & 15, more >> 4
    index_bytes = more & 15 if version else 0
    at = begin + 6

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(content):
            raise ValueError("its list of places ends early")
        at += size
        return int.from_bytes(content[at - size : at], "big")

    id_bytes = 2 if version < 2 else 4
    for _ in range(number(id_bytes)):
        item = number(id_bytes)
        if version and number(2) & 15 == 1:
            found.in_meta.add(item)
        number(2)
        base = number(base_bytes)
        places: list[tuple[int, int]] = []
        found.places.append((item, places))
        for _ in range(number(2)):
            number(index_bytes)
            offset = base + number(offset_bytes)
            places.append((offset, number(length_bytes) or len(content)))
            if len(places) > _MOST_PARTS:
                raise ValueError("it has too many parts")


def _area(data: bytes) -> int:
    """The pixels of all frames of a picture, by the headers of its units.

    The decoder makes all of them, also if it shows the last one only.
    """
    area, frame, at = 0, 0, 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 4 else 1
        size = len(data) - at
        if head & 2:
            size, at = _leb128(data, at)
        kind = head >> 3 & 15
        if kind == _SEQUENCE_HEADER:
            width, height = _largest_frame(data[at : at + min(size, _LONGEST_HEADER)])
            frame = width * height
        area += frame * (kind in _FRAMES)
        at += size
    return area


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(8):
        value |= (data[at + n] & 127) << 7 * n
        if not data[at + n] & 128:
            return value, at + n + 1
    raise ValueError("a number in it has no end")


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header in it ends early")
        return self._number >> self._left & (1 << count) - 1


def _largest_frame(data: bytes) -> tuple[int, int]:
    """Width and height by a sequence header."""
    bits = _Bits(data)
    bits.take(4)
    if bits.take(1):  # the short header of a still picture
        bits.take(5)
    else:
        _skip_operating_points(bits)
    sizes = bits.take(4) + 1, bits.take(4) + 1
    width, height = (_side(bits.take(size), size) for size in sizes)
    return width, height


def _side(less_one: int, size: int) -> int:
    """A frame may give another size, in as many bits. Encoders use no more bits than they need."""
    return less_one + 1 if less_one >> (size - 1) or size == 1 else 1 << size


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # times
        bits.take(64)
        if bits.take(1):
            zeros = 0
            while not bits.take(1):
                zeros += 1
            bits.take(zeros if zeros < 32 else 0)
        if bits.take(1):
            delay_bits = bits.take(5) + 1
            bits.take(42)
    has_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_delay and bits.take(1):
            bits.take(4)
