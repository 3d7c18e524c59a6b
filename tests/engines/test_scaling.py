"""Images are scaled on several cores to the same pixels that Pillow makes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sam_backend.engines.scaling import scaled
from sam_backend.formats.pictures import Pixels


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def by_pillow(image: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        pytest.param((1000, 1501, 3), (1024, 682), id="a photo"),
        pytest.param((1501, 1000, 3), (682, 1024), id="upright"),
        pytest.param((2000, 1000, 3), (512, 1024), id="tall"),
        pytest.param((2001, 1000, 3), (512, 1024), id="taller"),
        pytest.param((3000, 400, 3), (137, 1024), id="very tall"),
        pytest.param((400, 3000, 3), (1024, 137), id="very wide"),
        pytest.param((1024, 1025, 3), (1024, 1023), id="almost the right size"),
        pytest.param((1100, 1024, 3), (1024, 1024), id="stretched"),
        pytest.param((1500, 1000, 3), (1024, 1024), id="stretched upright"),
        pytest.param((2000, 1500, 3), (1024, 1024), id="stretched large"),
        pytest.param((1500, 2000, 3), (1024, 1024), id="stretched wide"),
        pytest.param((1000, 1501), (1024, 682), id="grey"),
        pytest.param((30, 50, 3), (1024, 614), id="small"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_the_pixels_are_those_of_pillow(
    shape: tuple[int, ...], size: tuple[int, int], threads: int
) -> None:
    image = noise(*shape)
    assert np.array_equal(scaled(image, size, threads), by_pillow(image, size))
