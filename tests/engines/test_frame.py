"""Between an image's pixels, the model's square and the low-res square."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sam_backend.engines.frame import LOW_RES_SIDE, Frame

SIZES = [(1024, 1024), (600, 900), (667, 1000), (64, 64), (1, 5000), (3, 2)]


@pytest.mark.parametrize("size", SIZES)
def test_the_longest_side_fills_the_square(size: tuple[int, int]) -> None:
    frame = Frame(*size)
    assert max(frame.scaled) == 1024
    assert max(frame.used) == 256
    assert max(frame.tokens) == 64
    assert min(frame.scaled + frame.used + frame.tokens) >= 1


def test_a_pixel_that_holds_image_in_part_is_used() -> None:
    frame = Frame(667, 1000)
    assert frame.scaled == (683, 1024)
    assert frame.used == (171, 256)  # 170.75 rows
    assert frame.tokens == (43, 64)


def test_a_point_lies_where_the_prompt_encoder_puts_it() -> None:
    points = np.array([[0, 0], [3.4, 3.4], [3.6, 3.6], [1023, 767]], np.float32)
    assert Frame(768, 1024).spots(points).tolist() == [[0, 0], [0, 0], [1, 1], [255, 191]]


@pytest.mark.parametrize("size", SIZES)
def test_no_spot_is_outside_the_image(size: tuple[int, int]) -> None:
    frame = Frame(*size)
    far = np.array([[-9, -9], [1e6, 1e6]], np.float32)
    assert frame.spots(far).tolist() == [[0, 0], [frame.used[1] - 1, frame.used[0] - 1]]


@pytest.mark.parametrize("size", SIZES)
def test_each_low_res_pixel_has_a_pixel_of_the_image(size: tuple[int, int]) -> None:
    rows, columns = Frame(*size).middles()
    assert (len(rows), len(columns)) == Frame(*size).used
    assert rows.min() >= 0
    assert rows.max() < size[0]
    assert columns.min() >= 0
    assert columns.max() < size[1]


@pytest.mark.parametrize("size", [(1024, 1024), (600, 900), (667, 1000)])
def test_a_mask_stays_in_its_place_on_the_way_down_and_up(size: tuple[int, int]) -> None:
    frame = Frame(*size)
    logits = np.full(size, -8, np.float32)
    logits[size[0] // 3 :, size[1] // 4 : size[1] // 2] = 8
    small = frame.shrink(logits, outside=-10)
    assert small.shape == (LOW_RES_SIDE, LOW_RES_SIDE)
    assert (small[frame.used[0] :] == -10).all()
    assert np.array_equal(frame.cut(small)[-1] > 0, frame.cut(small)[-2] > 0), "up to the edge"
    big = frame.upsample(small)
    assert big.shape == size
    assert np.mean((big > 0) == (logits > 0)) > 0.995


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (40, 1000)])
def test_masks_move_between_the_padded_and_the_stretched_square(size: tuple[int, int]) -> None:
    height, width = size
    rows, columns = np.mgrid[:256, :256].astype(np.float32)
    stretched = columns / 256 * width - rows / 256 * height  # a plane over the image
    padded = Frame(*size).from_stretched(stretched)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    inner = (slice(height // 4, height * 3 // 4), slice(width // 4, width * 3 // 4))
    pixel = max(size) / 256
    assert np.abs(Frame(*size).upsample(padded) - (x - y))[inner].max() < 1.5 * pixel
    again = Frame(*size).to_stretched(padded)
    assert np.abs(again - stretched)[64:192, 64:192].max() < 1.5 * pixel


def test_a_stretched_image_fills_the_square() -> None:
    frame = Frame(300, 600, stretched=True)
    assert frame.scaled == (1024, 1024)
    corner = np.array([[600, 300]], np.float32)
    assert frame.in_square(corner).tolist() == [[1024, 1024]]
    several = np.zeros((4, 256, 256), np.float32)
    assert Frame(300, 600).from_stretched(several).shape == several.shape


@pytest.mark.parametrize("size", [(1500, 2241), (1024, 1024), (40, 3000), (333, 77)])
def test_whole_numbers_give_the_same_mask(size: tuple[int, int]) -> None:
    frame = Frame(*size)
    coarse = np.random.default_rng(0).normal(0, 15, (20, 20)).astype(np.float32)
    logits = np.asarray(cv2.resize(coarse, (LOW_RES_SIDE, LOW_RES_SIDE)), np.float32)
    logits[:9, :9] = 1e6  # a decoder of any scale
    found, wanted = frame.mask(logits), frame.upsample(logits) > 0
    assert found.shape == size
    assert np.mean(found == wanted) > 0.999


@pytest.mark.parametrize("size", [(1500, 2241), (1024, 1024), (3000, 400), (333, 777)])
@pytest.mark.parametrize("spot", [(0, 0), (3, 9), (20, 13)])
def test_what_lies_behind_a_mask_does_not_change_it(
    size: tuple[int, int], spot: tuple[int, int]
) -> None:
    """The rest of the square is not scaled up."""
    frame = Frame(*size)
    logits = np.full((LOW_RES_SIDE, LOW_RES_SIDE), -3, np.float32)
    row, column = spot
    logits[row : row + 9, column : column + 7] = np.random.default_rng(1).normal(2, 3, (9, 7))
    behind = logits.copy()
    behind[frame.used[0] - 1, frame.used[1] - 1] = 3
    found, whole = frame.mask(logits), frame.mask(behind)
    assert found.any()
    assert whole[-1, -1]
    rows, columns = (-(-side * 2 // 3) for side in size)
    whole[rows:, columns:] = False
    assert np.array_equal(found, whole)


def test_a_mask_of_nothing_is_empty() -> None:
    nothing = np.full((LOW_RES_SIDE, LOW_RES_SIDE), -3, np.float32)
    assert not Frame(30, 40).mask(nothing).any()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (200, 1)])
def test_a_small_mask_in_a_tiny_image(width: int, height: int) -> None:
    logits = np.full((256, 256), -5, np.float32)
    logits[0, 0] = 5
    assert Frame(height, width).mask(logits).shape == (height, width)
