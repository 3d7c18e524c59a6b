"""Label Studio's brush format: run-length encoded RGBA bytes in a bit stream.

The stream, most significant bit first: 32 bits number of values (height * width * 4), 5 bits word
size - 1, four times 4 bits run-length size - 1; then blocks of 1 bit "is a run", 2 bits which of
the four sizes, that many bits count - 1, and one word (a run) or count words (no run).

It is written by hand: label-studio-sdk, which has the only other encoder, joins strings of bits in
a loop. For masks of 2241 x 1500 pixels it encodes 60 times and decodes 13 times as slowly.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import orjson

CHANNELS = 4
_WORD_BITS = 8
_SIZES = (3, 4, 8, 16)
_LONGEST = 1 << _SIZES[-1]
_HEADER_BITS = 32 + 5 + 4 * 4

# The header's word size and run-length sizes, and a run of zeros as long as any, as bits.
_USUAL_SIZES = np.array([int(bit) for bit in "00111" + "0010" + "0011" + "0111" + "1111"], np.uint8)
_EMPTY_RUN = np.array([1] * (3 + _SIZES[-1]) + [0] * _WORD_BITS, np.uint8)

Indices = npt.NDArray[np.intp]


def encode(mask: npt.NDArray[np.bool_]) -> list[int]:
    """The brush RLE of a mask (H, W), with 255 in every channel where the mask is true."""
    rows = np.ascontiguousarray(mask, dtype=bool)
    if rows.size == 0:
        raise ValueError("an image without pixels has no brush mask")
    flat = rows.ravel()
    starts = np.concatenate(([0], _changes(rows)))
    lengths = np.diff(np.append(starts, flat.size)) * CHANNELS
    blocks, widths = _run_blocks(lengths, flat[starts])
    header = _header(flat.size * CHANNELS)
    stream = _pack(np.concatenate((header[0], blocks)), np.concatenate((header[1], widths)))
    return list(stream.tobytes())


def decode(rle: Iterable[int] | str, height: int, width: int) -> npt.NDArray[np.bool_]:
    """The mask (H, W) of a brush RLE: true where alpha is not 0. ValueError if it does not fit.

    `bodies.parse` gives the numbers as a string with commas.
    """
    ends, values = _runs(rle, height, width)
    # A pixel's last byte is its alpha, so a run decides for the pixels that end in it.
    pixels = np.diff(ends // CHANNELS, prepend=0)
    mask: npt.NDArray[np.bool_] = np.repeat(values > 0, pixels).reshape(height, width)
    return mask


def sample(
    rle: Iterable[int] | str, height: int, width: int, rows: Indices, columns: Indices
) -> npt.NDArray[np.bool_]:
    """The mask at some rows and columns, in ascending order. It takes a fraction of the work."""
    ends, values = _runs(rle, height, width)
    rows, times = np.unique(rows, return_counts=True)
    # The number of grid points before each run's end: in the rows above, and to the left.
    row, column = np.divmod(ends // CHANNELS, width)
    above = np.searchsorted(rows, np.arange(height + 1))
    in_grid = np.diff(above, append=above[-1])
    left = np.searchsorted(columns, np.arange(width))
    places = (above[row] * len(columns) + in_grid[row] * left[column]).astype(np.int64)
    found: npt.NDArray[np.bool_] = np.repeat(values > 0, np.diff(places, prepend=0))
    return np.repeat(found.reshape(len(rows), len(columns)), times, axis=0)


def empty_rows(rle: Iterable[int] | str, height: int, width: int) -> int:
    """A number of empty rows at the top. A few more may be empty.

    It looks only at the longest runs at the start of the stream. ValueError if it is not a mask.
    """
    # The longest runs of an empty picture take this number of bytes, with the header.
    most = 8 + -(-_EMPTY_RUN.size * -(-height * width * CHANNELS // _LONGEST) // 8)
    if isinstance(rle, str):  # a number takes four characters, with its comma
        rle = rle[: 4 * most].rpartition(",")[0] if len(rle) > 4 * most else rle
    bits = np.unpackbits(np.frombuffer(_content(rle), np.uint8)[:most])
    if not np.array_equal(bits[32:_HEADER_BITS], _USUAL_SIZES):
        return 0
    bits = bits[_HEADER_BITS:]
    differs = bits != np.resize(_EMPTY_RUN, bits.size)
    runs = (int(differs.argmax()) if differs.any() else bits.size) // _EMPTY_RUN.size
    return min(height, runs * _LONGEST // CHANNELS // width)


def _changes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The indices of all pixels that differ from the one before, in reading order.

    A few among millions differ. So the search leaves out empty rows above and below the mask, and
    looks at eight pixels at once.
    """
    filled = np.flatnonzero(mask.any(axis=1))
    if not len(filled):
        return np.zeros(0, np.int64)
    first = max(0, int(filled[0]) * mask.shape[1] - 1)
    flat = mask.ravel()[first : (int(filled[-1]) + 1) * mask.shape[1] + 1]
    differs = np.zeros(-(-flat.size // 8) * 8, bool)
    np.not_equal(flat[1:], flat[:-1], out=differs[: flat.size - 1])
    eights = np.flatnonzero(differs.view(np.uint64) != 0)
    which, place = np.nonzero(differs.reshape(-1, 8)[eights])
    changes: npt.NDArray[np.int64] = first + 1 + 8 * eights[which] + place
    return changes


def _content(rle: Iterable[int] | str) -> bytes:
    try:
        # iter() rejects a single number, of which bytes() would make that many zeros.
        content = bytes(orjson.loads(f"[{rle}]") if isinstance(rle, str) else iter(rle))
    except (ValueError, TypeError):
        raise ValueError("the brush mask is not a list of bytes") from None
    return content


def _runs(
    rle: Iterable[int] | str, height: int, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """The end of each run of bytes, and its value."""
    content = _content(rle)
    end_of_stream = len(content) * 8
    content += bytes(8)  # zeros after the end, so that the last numbers are read like all others
    expected = height * width * CHANNELS
    if end_of_stream < _HEADER_BITS or _number(content, 0, 32) != expected:
        raise ValueError(f"the brush mask does not have {width}x{height} pixels")
    if _number(content, 32, 5) != _WORD_BITS - 1:
        raise ValueError("the brush mask does not consist of bytes")
    sizes = np.array([_number(content, 37 + 4 * i, 4) + 1 for i in range(4)])
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    blocks = np.array(_blocks(content, bits, sizes.tolist(), end_of_stream), np.int64)
    heads = _heads(content, blocks)
    size = sizes[heads >> 29 & 0b11]
    counts = (heads >> (29 - size) & ((1 << size) - 1)) + 1
    values = (heads >> (21 - size) & 0xFF).astype(np.uint8)
    done = np.cumsum(counts)
    last = int(np.searchsorted(done, expected))
    is_run = heads[: last + 1] >> 31 == 1
    if (
        last == len(done)
        or done[last] != expected
        or blocks[last] + 3 + size[last] + _WORD_BITS * (1 if is_run[last] else counts[last])
        > end_of_stream
    ):
        raise ValueError("the brush mask is cut off")
    if is_run.all():
        return done[: last + 1], values[: last + 1]
    # Single values follow the head of their block.
    repeats = np.where(is_run, 1, counts[: last + 1])
    lengths = np.repeat(np.where(is_run, counts[: last + 1], 1), repeats)
    spread = np.repeat(values[: last + 1], repeats)
    first = np.cumsum(repeats) - repeats
    for block in np.flatnonzero(~is_run):
        begin = int(blocks[block] + 3 + size[block])
        end = begin + int(counts[block]) * _WORD_BITS
        spread[first[block] : first[block] + counts[block]] = np.packbits(bits[begin:end])
    return np.cumsum(lengths), spread


def _blocks(
    content: bytes, bits: npt.NDArray[np.uint8], sizes: list[int], end_of_stream: int
) -> list[int]:
    """The first bit of each block.

    The end of a block is known only after it is read, so this is a loop. The length that a run's
    block would have at each bit is computed before the loop, which makes the loop short.
    """
    heads = (bits[:-2] << 2 | bits[1:-1] << 1 | bits[2:]).tobytes()
    lengths = [0] * 4 + [3 + size + _WORD_BITS for size in sizes]  # 0: it depends on the count
    length_at = heads.translate(bytes(lengths).ljust(256, b"\0"))
    starts: list[int] = []
    note, at = starts.append, _HEADER_BITS
    while at < end_of_stream:
        note(at)
        length = length_at[at]
        if not length:
            size = sizes[heads[at] & 0b11]
            length = 3 + size + (_number(content, at + 3, size) + 1) * _WORD_BITS
        at += length
    return starts


def _heads(content: bytes, blocks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The first 32 bits of each block. A whole run takes 3 + 16 + 8 at most."""
    words = np.ndarray((len(content) - 7,), ">u8", content, strides=(1,))[blocks >> 3]
    shifted = words.astype(np.uint64) << (blocks & 7).astype(np.uint64)
    heads: npt.NDArray[np.int64] = (shifted >> np.uint64(32)).astype(np.int64)
    return heads


def _header(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    numbers = [count, _WORD_BITS - 1, *(size - 1 for size in _SIZES)]
    return np.array(numbers, dtype=np.int64), np.array([32, 5, 4, 4, 4, 4], dtype=np.int64)


def _run_blocks(
    lengths: npt.NDArray[np.int64], values: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each run of bytes as (number, bits): is-a-run, size, count - 1, value."""
    pieces = -(-lengths // _LONGEST)
    runs = np.full(int(pieces.sum()), _LONGEST, dtype=np.int64)
    runs[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST
    which = np.searchsorted([1 << size for size in _SIZES[:-1]], runs, side="left")
    sizes = np.array(_SIZES)[which]
    words = np.repeat(values, pieces).astype(np.int64) * 255
    head = (0b100 | which) << sizes | (runs - 1)
    return head << _WORD_BITS | words, 3 + sizes + _WORD_BITS


def _pack(numbers: npt.NDArray[np.int64], widths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Packs the numbers, each in its own width of at most 32 bits, into bytes."""
    ends = np.cumsum(widths)
    first_byte, offset = np.divmod(ends - widths, 8)
    window = numbers << (40 - offset - widths)  # five bytes, the number at its offset
    out = np.zeros(int(-(-ends[-1] // 8)) + 5, dtype=np.float64)
    for i in range(5):
        # No two numbers share a bit, so adding equals or-ing, and bincount adds fast.
        share = (window >> (32 - 8 * i)) & 0xFF
        out += np.bincount(first_byte + i, weights=share, minlength=out.size)[: out.size]
    return out[: -(-ends[-1] // 8)].astype(np.uint8)


def _number(content: bytes, at: int, width: int) -> int:
    """The number of up to 32 bits that starts at a bit."""
    window = int.from_bytes(content[at >> 3 : (at >> 3) + 5], "big")
    return window >> (40 - width - (at & 7)) & ((1 << width) - 1)
