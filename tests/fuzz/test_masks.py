"""Brush masks from anywhere: a mask of the size that was asked for, or a ValueError."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_backend.clicks.objects import Objects
from sam_backend.formats import bodies, rle
from tests.fakes import inline, picture
from tests.fuzz.conftest import tries

Count = Callable[[str], None]

_BYTES = st.binary(max_size=200).map(list)
_SIDES = st.integers(-1, 70) | st.sampled_from([0, 1, 46_341, 2**31])


@st.composite
def _after_a_header(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """A header that fits, and then anything."""
    height, width = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    sizes = draw(st.sampled_from([(3, 4, 8, 16), (16, 16, 16, 16), (1, 1, 1, 1)]))
    bits = f"{height * width * 4:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    bits += "".join(f"{byte:08b}" for byte in draw(_BYTES))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)], height, width


@st.composite
def _damaged(draw: st.DrawFn) -> tuple[list[int], int, int]:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    numbers = rle.encode(dice.random((height, width)) < draw(st.sampled_from([0, 0.1, 0.5, 1])))
    for _ in range(draw(st.integers(0, 4))):
        numbers[draw(st.integers(0, len(numbers) - 1))] = draw(st.integers(0, 255))
    return numbers[: draw(st.integers(0, len(numbers)))] or numbers, height, width


@tries(2500)
@given(
    mask=_after_a_header()
    | _damaged()
    | st.tuples(_BYTES | st.lists(st.integers()), _SIDES, _SIDES),
    as_text=st.booleans(),
)
def test_runs(tried: Count, mask: tuple[list[int], int, int], as_text: bool) -> None:
    tried("brush masks")
    numbers, height, width = mask
    given_as = ",".join(map(str, numbers)) if as_text else numbers
    rows, columns = (np.minimum(np.arange(3), max(0, side - 1)) for side in (height, width))
    try:
        decoded = rle.decode(given_as, height, width)
        sampled = rle.sample(given_as, height, width, rows, columns)
    except ValueError:
        return
    assert decoded.shape == (height, width)
    assert (decoded[rows[:, None], columns] == sampled).all()


@tries(500)
@given(
    junk=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
)
def test_arrays_of_other_values(tried: Count, junk: Any) -> None:
    tried("brush masks")
    with pytest.raises((ValueError, TypeError)):
        rle.decode(junk, 10, 10)


def test_a_small_mask_cannot_ask_for_much_memory(tried: Count) -> None:
    """As many and as long runs as fit into a kilobyte, where the largest image is expected."""
    for size in (1, 4, 8, 16):
        tried("brush masks")
        run = "1" + "00" + "1" * size + "1" * 8
        bits = f"{32768 * 32767 * 4:032b}{7:05b}" + f"{size - 1:04b}" * 4 + run * (8000 // len(run))
        numbers = [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]
        tracemalloc.start()
        with pytest.raises(ValueError, match="cut off"):
            rle.decode(numbers, 32768, 32767)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 2_000_000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["rle", "a", '"rle"', "\\"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@tries(2500)
@given(value=_JSON)
def test_bodies_keep_their_meaning(tried: Count, value: Any) -> None:
    """Quoting the masks changes nothing else."""
    tried("bodies with masks")
    assert _unquoted(bodies.parse(orjson.dumps(value))) == _unquoted(value)


def _unquoted(value: Any) -> Any:
    if isinstance(value, list):
        return [_unquoted(item) for item in value]
    if isinstance(value, dict):
        return {k: _as_numbers(v) if k == "rle" else _unquoted(v) for k, v in value.items()}
    return value


def _as_numbers(value: Any) -> Any:
    """The same for an array of plain values, and for the text that it becomes."""
    plain = isinstance(value, list) and not any(isinstance(v, str | list | dict) for v in value)
    return orjson.dumps(value)[1:-1].decode() if plain else _unquoted(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("polygonlabels", {"points": [[0, 0], [100, 0], [100, 100]]}),
        ("bitmasklabels", {"imageDataURL": inline(picture(40, 30))}),
        ("brushlabels", {"rle": [255] * 100}),
    ],
)
@pytest.mark.parametrize("side", [60_000, 10**9, -(10**9)])
def test_a_task_opened_cannot_ask_for_much_memory(
    tried: Count, kind: str, value: dict[str, Any], side: int
) -> None:
    """Its masks are of an image of any size, if they are to be believed."""
    tried("brush masks")
    size = {"original_width": side, "original_height": side}
    result = {"id": "a", "type": kind, "to_name": "image", "value": {**value, kind: ["A"]}, **size}
    tracemalloc.start()
    with contextlib.suppress(ValueError):
        Objects().read_ahead({"id": 1, "drafts": [{"result": [result]}]})
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2_000_000
