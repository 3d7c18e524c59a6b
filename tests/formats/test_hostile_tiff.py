"""TIFFs whose tiles or strips take more memory than their pixels, and usual ones beside them."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from sam_backend.errors import Refusal
from sam_backend.formats import pictures, tiff_tiles


def tiled(side: int, tile: tuple[int, int], *, kind: int = 4, big: bool = False) -> bytes:
    """A TIFF of side x 1 grey pixels, all of whose tiles are the same deflated zeros.

    `kind` is the TIFF type of the number that says how wide a tile is.
    """
    width, length = tile
    count = -(-side // width)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(width)) for _ in range(length)) + packer.flush()
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0)
    places = struct.pack(f"<{count}I", *[len(head)] * count)
    lengths = struct.pack(f"<{count}I", *[len(pixels)] * count)
    data = pixels + bytes(-len(pixels) % 4) + places + lengths
    at_lengths = len(head) + len(data) - len(lengths)
    entries = [
        *((256, 4, 1, side), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)),
        *((277, 3, 1, 1), (322, kind, 1, width), (323, 4, 1, length)),
        (324, 4, count, at_lengths - len(places) if count > (2 if big else 1) else len(head)),
        (325, 4, count, at_lengths if count > (2 if big else 1) else len(pixels)),
    ]
    form = "<HHQQ" if big else "<HHII"
    directory = struct.pack("<Q" if big else "<H", len(entries))
    directory += b"".join(struct.pack(form, *entry) for entry in entries) + bytes(8)
    begin = struct.pack("<Q" if big else "<I", len(head) + len(data))
    return head[: -len(begin)] + begin + data + directory


@pytest.mark.parametrize("big", [False, True], ids=["classic", "BigTIFF"])
@pytest.mark.parametrize(
    ("side", "tile"),
    [(16, (16_384, 16_384)), (14_400, (16, 65_536))],
    ids=["a tile larger than the picture", "tiles taller than the picture"],
)
def test_tiles_that_are_larger_than_the_picture(
    side: int, tile: tuple[int, int], big: bool
) -> None:
    """Each tile is decoded whole, however little of it lies in the picture."""
    with pytest.raises(Refusal, match=rf"{side}x1 pixels .* MB of memory: scale it down"):
        pictures.decode(tiled(side, tile, big=big))


@pytest.mark.parametrize("big", [False, True], ids=["classic", "BigTIFF"])
def test_tiles_of_a_usual_size(big: bool) -> None:
    assert not pictures.decode(tiled(300, (64, 64), big=big)).any()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate"])
def test_a_large_drawing_in_strips(compression: str) -> None:
    """A part of it is decoded at once, so it may be larger than if it were one strip."""
    drawing = Image.new("RGB", (4961, 3508), "white")
    out = io.BytesIO()
    drawing.save(out, "TIFF", compression=compression, tiffinfo={278: 16})
    assert pictures.decode(out.getvalue()).shape == (3508, 4961, 3)
    out = io.BytesIO()
    drawing.save(out, "TIFF", compression=compression, tiffinfo={278: 3508}, strip_size=1 << 30)
    assert tiff_tiles.decoding(out.getvalue(), 4961, 3508).at_once == 4961 * 3508
    with pytest.raises(Refusal, match="MB of memory: scale it down"):
        pictures.decode(out.getvalue())


@pytest.mark.parametrize("kind", [1, 5, 9, 17])
def test_a_size_of_tiles_that_libraries_read_in_different_ways(kind: int) -> None:
    with pytest.raises(Refusal, match="damaged"):
        pictures.decode(tiled(16, (4096, 4096), kind=kind))
