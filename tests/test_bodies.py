"""Bodies are read without their brush masks, and in no other way changed."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_backend import bodies

text = st.one_of(st.text(), st.sampled_from(['"rle"', '"rle": [1', "rle", '\\"rle\\":[', "]"]))
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


def emptied(value: Any) -> Any:
    if isinstance(value, list):
        return [emptied(v) for v in value]
    if isinstance(value, dict):
        return {k: [] if k == "rle" and is_flat(v) else emptied(v) for k, v in value.items()}
    return value


def is_flat(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(v, str | list | dict) for v in value)


@settings(max_examples=60, deadline=None)
@given(values, st.sampled_from([None, 1]))
def test_only_masks_are_emptied(value: Any, indent: int | None) -> None:
    expected = emptied(value)
    assert bodies.parse(json.dumps(value, indent=indent).encode()) == expected
    assert bodies.parse(json.dumps(value, ensure_ascii=False).encode()) == expected
    assert bodies.parse(orjson.dumps(value)) == expected


@pytest.mark.parametrize("body", [b"", b"{", b'{"rle":', b'{"rle": [1, 2', b'"rle"', b'{"rle"}'])
def test_what_is_no_json_stays_so(body: bytes) -> None:
    if body == b'"rle"':
        assert bodies.parse(body) == "rle"
        return
    with pytest.raises(orjson.JSONDecodeError):
        bodies.parse(body)
