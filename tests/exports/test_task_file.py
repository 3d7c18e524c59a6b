"""Exports of any size are read task by task, wherever a read happens to end."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_backend.exports import task_file

values = st.recursive(
    st.none() | st.integers() | st.text('ab"\\[]{},:é', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\]}x'), inner, max_size=3)
    ),
    max_leaves=8,
)


class Trickle(io.BytesIO):
    """A file that gives a few bytes a time, as a connection may."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        return super().read(min(size, self._size))


@given(
    st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), max_size=4),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_every_task_is_found_as_it_stands(
    listed: list[Any], size: int, indent: int | None, ascii_only: bool
) -> None:
    content = json.dumps(listed, indent=indent, ensure_ascii=ascii_only).encode()
    assert [json.loads(item) for item in task_file.items(Trickle(content, size))] == listed


@pytest.mark.parametrize("content", [b"[", b'[{"a": 1}', b'[{"a": "', b'[{"a": 1}, {"b"'])
def test_a_cut_off_file_gives_its_tasks_then_an_error(content: bytes) -> None:
    found: list[bytes] = []
    with pytest.raises(ValueError, match="ends in the middle"):
        found.extend(task_file.items(Trickle(content, 3)))
    assert len(found) <= 1


@pytest.mark.parametrize("content", [b"", b" ", b"]", b"7", b'"text"', b"<html>"])
def test_an_invalid_list_is_reported(content: bytes) -> None:
    with pytest.raises(ValueError, match="does not begin with a list"):
        list(task_file.items(Trickle(content, 3)))
