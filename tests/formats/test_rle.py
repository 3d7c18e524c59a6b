"""The brush format, against the SDK that Label Studio exports with."""

import contextlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from label_studio_sdk.converter import brush

from sam_backend.formats import rle
from sam_backend.formats.mask import Mask

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40))


def blob(height: int, width: int) -> Mask:
    rows, columns = np.mgrid[:height, :width]
    inside: Mask = np.hypot(rows - height / 2, columns - width / 3) < min(height, width) / 3
    return inside


@given(masks)
def test_encoding_and_decoding_agree(mask: Mask) -> None:
    assert np.array_equal(rle.decode(rle.encode(mask), *mask.shape), mask)


@given(masks)
def test_the_sdk_decodes_it_to_four_equal_channels(mask: Mask) -> None:
    channels = brush.decode_rle(rle.encode(mask)).reshape(*mask.shape, 4)
    assert all(np.array_equal(channels[..., i] == 255, mask) for i in range(4))
    assert set(np.unique(channels)) <= {0, 255}


@given(masks)
def test_it_is_the_sdks_encoding_to_the_byte(mask: Mask) -> None:
    ours, theirs = rle.encode(mask), brush.mask2rle(mask.astype(np.uint8) * 255)
    assert theirs[: len(ours)] == ours
    assert theirs[len(ours) :] in ([], [0])  # the SDK pads a full last byte with another


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_masks_of_soft_brushes_decode_as_well(alpha: npt.NDArray[np.uint8]) -> None:
    """A brush painted by hand has runs of single values, which ours never has."""
    assert np.array_equal(rle.decode(brush.mask2rle(alpha), *alpha.shape), alpha > 0)


@given(masks, st.data())
def test_a_grid_of_pixels_can_be_read_without_the_others(mask: Mask, data: st.DataObject) -> None:
    rows, columns = (
        np.sort(data.draw(st.lists(st.integers(0, side - 1), min_size=1, max_size=6)))
        for side in mask.shape
    )
    height, width = mask.shape
    found = rle.sample(rle.encode(mask), height, width, rows, columns)
    assert np.array_equal(found, mask[rows[:, None], columns])


@pytest.mark.parametrize("written_as", [list, lambda numbers: ",".join(map(str, numbers))])
@pytest.mark.parametrize("top", [0, 1, 700, 1499, 1500])
def test_empty_rows_at_the_top_are_found_without_reading_the_rest(
    top: int, written_as: Callable[[list[int]], list[int] | str]
) -> None:
    mask = np.zeros((1500, 2241), bool)
    mask[top:, 1000:1400] = True
    found = rle.empty_rows(written_as(rle.encode(mask)), *mask.shape)
    assert top - 8 < found <= top


@given(masks)
def test_rows_that_are_said_to_be_empty_are(mask: Mask) -> None:
    found = rle.empty_rows(rle.encode(mask), *mask.shape)
    assert not mask[:found].any()


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_rows_of_soft_brushes_that_are_said_to_be_empty_are(alpha: npt.NDArray[np.uint8]) -> None:
    assert not alpha[: rle.empty_rows(brush.mask2rle(alpha), *alpha.shape)].any()


@pytest.mark.parametrize("shape", [(1, 70_000), (300, 400), (1500, 2241)])
def test_runs_longer_than_a_block_are_split(shape: tuple[int, int]) -> None:
    mask = blob(*shape)
    assert np.array_equal(rle.decode(rle.encode(mask), *shape), mask)


@given(masks, st.data())
def test_a_damaged_stream_is_refused_or_decodes_to_the_right_size(
    mask: Mask, data: st.DataObject
) -> None:
    stream = rle.encode(mask)
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] = data.draw(st.integers(0, 255))
    cut = stream[: data.draw(st.integers(0, len(stream)))]
    with contextlib.suppress(ValueError):  # and no other error
        assert rle.decode(cut, *mask.shape).shape == mask.shape


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="does not have 4x5 pixels"):
        rle.decode(rle.encode(np.ones((3, 3), bool)), 5, 4)
