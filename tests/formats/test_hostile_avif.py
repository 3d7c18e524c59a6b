"""AVIFs whose frames are larger or more than the file shows, and usual ones beside them."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from sam_backend.errors import Refusal
from sam_backend.formats import avif_frames, pictures
from tests.fakes import plain_picture


def with_item_size(content: bytes, width: int, height: int) -> bytes:
    """An AVIF file that says to be of this size, whatever its frame is."""
    at = content.index(b"ispe") + 8
    return content[:at] + struct.pack(">II", width, height) + content[at + 8 :]


def test_an_avif_frame_that_is_larger_than_its_item() -> None:
    """The decoder makes the whole frame, and then scales it down."""
    hostile = with_item_size(plain_picture("RGB", 6000, "AVIF", speed=10), 16, 16)
    with pytest.raises(Refusal, match=r"16x16 pixels .* MB of memory: scale it down"):
        pictures.decode(hostile)


def test_many_hidden_avif_frames_in_one() -> None:
    """All are decoded, and one is shown."""
    content = plain_picture("RGB", 1000, "AVIF", speed=10)
    assert avif_frames.pixels(content) == 1_000_000
    start = content.index(b"mdat") + 4
    units = content[start:]
    at = content.index(struct.pack(">II", start, len(units)))  # in `iloc`
    hostile = content[: at + 4] + struct.pack(">I", 50 * len(units)) + content[at + 8 :]
    mdat = struct.pack(">I", 8 + 50 * len(units)) + b"mdat" + 50 * units
    assert avif_frames.pixels(hostile[: start - 8] + mdat) == 50_000_000


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (255, 17), (256, 257)])
@pytest.mark.parametrize("frames", [1, 3])
def test_the_frames_of_a_usual_avif(mode: str, size: tuple[int, int], frames: int) -> None:
    images = [Image.new(mode, size, 90 * n) for n in range(frames)]
    out = io.BytesIO()
    images[0].save(out, "AVIF", save_all=frames > 1, append_images=images[1:])
    width, height = size
    assert avif_frames.pixels(out.getvalue()) == width * height
    assert pictures.decode(out.getvalue()).shape == (height, width, 3)
