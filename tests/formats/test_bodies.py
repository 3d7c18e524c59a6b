"""Bodies are read with their brush masks unread, and in no other way changed."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_backend.formats import bodies, rle
from tests.costs import assert_cheap, assert_linear, cost_of

text = st.one_of(st.text(), st.sampled_from(['"rle"', '"rle": [1', "rle", 'x"rle', "\\", "]"]))
numbers = st.lists(st.integers(0, 255), max_size=5)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), text),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(text, inner, max_size=4),
        st.builds(lambda n, v: {"rle": n, "format": "rle", "more": v}, numbers, inner),
        st.builds(lambda v: {"rle": v}, inner),
    ),
    max_leaves=20,
)


def numbers_only(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int for v in value)


def read(value: Any) -> Any:
    """The parsed body with its masks as numbers again."""
    if isinstance(value, list):
        return [read(v) for v in value]
    if isinstance(value, dict):
        return {k: mask(v) if k == "rle" else read(v) for k, v in value.items()}
    return value


def mask(value: Any) -> Any:
    if not isinstance(value, str):
        return read(value)
    return [int(v) for v in value.split(",")] if value.strip() else []


def with_lists(value: Any) -> Any:
    """Values of "rle" that are no lists of numbers are not what is tested."""
    if isinstance(value, list):
        return [with_lists(v) for v in value]
    if isinstance(value, dict):
        fitting = {k: v for k, v in value.items() if k != "rle" or numbers_only(v)}
        return {k: with_lists(v) for k, v in fitting.items()}
    return value


@settings(max_examples=60, deadline=None)
@given(values, st.sampled_from([None, 1]))
def test_the_same_is_read(value: Any, indent: int | None) -> None:
    value = with_lists(value)
    assert read(bodies.parse(json.dumps(value, indent=indent).encode())) == value
    assert read(bodies.parse(json.dumps(value, ensure_ascii=False).encode())) == value
    assert read(bodies.parse(orjson.dumps(value))) == value


def test_a_mask_is_decoded_when_it_is_wanted() -> None:
    painted = np.arange(60).reshape(6, 10) % 7 < 3
    body = json.dumps({"value": {"format": "rle", "rle": rle.encode(painted)}}).encode()
    value = bodies.parse(body)["value"]
    assert isinstance(value["rle"], str)
    np.testing.assert_array_equal(rle.decode(value["rle"], 6, 10), painted)


@pytest.mark.parametrize("value", ["a string", [[1]], {"rle": [1]}, ["1"], [], None, 3])
def test_other_values_under_the_same_key_stay(value: Any) -> None:
    expected = {"rle": "1"} if value == {"rle": [1]} else "" if value == [] else value
    assert bodies.parse(orjson.dumps({"rle": value})) == {"rle": expected}


@pytest.mark.parametrize("body", [b"", b"{", b'{"rle":', b'{"rle": [1, 2', b'"rle"', b'{"rle"}'])
def test_invalid_json_stays_invalid(body: bytes) -> None:
    if body == b'"rle"':
        assert bodies.parse(body) == "rle"
        return
    with pytest.raises(orjson.JSONDecodeError):
        bodies.parse(body)


@pytest.mark.parametrize(
    "part",
    [b'"rle":', b'"rle":[', b'"rle":[1', b'{"rle":[]},', b'"rle" ', b'"rle":[{', b'"rle":"rle",'],
)
def test_a_body_of_many_keys_costs_twice_as_much_when_it_is_twice_as_long(part: bytes) -> None:
    assert_linear(bodies.parse, lambda size: b"[" + part * (size * 1_000_000 // len(part)))


def test_many_masks_in_a_megabyte() -> None:
    assert_cheap(cost_of(bodies.parse, b"[" + b'{"rle":[]},' * 90_000 + b"1]"))


def test_the_placeholder_of_a_mask_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one long mask could be put in the place of thousands."""
    seen = list[bytes]()

    def loads(text: bytes) -> Any:
        seen.append(text)
        return json.loads(text)

    monkeypatch.setattr("sam_backend.formats.bodies.orjson.loads", loads)
    bodies.parse(b'{"rle": [1, 2]}')
    (marker,) = json.loads(seen[0])
    forged = {"a": {"rle": "x"}, "b": [{marker: 0}, {"rle (unread)": 0}]}
    assert bodies.parse(json.dumps({"rle": [1, 2], **forged}).encode()) == {"rle": "1, 2", **forged}
