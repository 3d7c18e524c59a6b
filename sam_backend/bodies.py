"""Request bodies: megabytes of brush masks that hardly anybody reads, and some JSON around them."""

from __future__ import annotations

from typing import Any

import orjson

_KEY = b'"rle"'
_SPACES = (b" ", b"\t", b"\r", b"\n")
# What a JSON string cannot hold as it is, or an array of numbers does not.
_MARKS = (b'"', b"\\", b"[", b"{", b"\t", b"\r", b"\n")


def parse(body: bytes) -> Any:
    """The JSON value; each brush mask `"rle": [1, 2, …]` is the string "1, 2, …" instead.

    A task carries the masks of its annotations and drafts, a number for each byte: making Python
    objects of them would take longer than a click. `rle.decode` reads both. JSONDecodeError if
    the body is not JSON.
    """
    return orjson.loads(with_masks_quoted(body))


def with_masks_quoted(body: bytes) -> bytes:
    """The body with its brush masks as strings."""
    kept: list[bytes] = []
    start = 0
    # Within a JSON string a quote is escaped, so these bytes are always a whole string.
    while (at := body.find(_KEY, start)) >= 0:
        at += len(_KEY)
        numbers = _array_after(body, at)
        if numbers is None:  # "format": "rle"
            kept.append(body[start:at])
            start = at
        else:
            first, end = numbers
            kept += (body[start : first - 1], b'"', body[first:end], b'"')
            start = end + 1
    if not kept:
        return body
    kept.append(body[start:])
    return b"".join(kept)


def _array_after(body: bytes, at: int) -> tuple[int, int] | None:
    """Where the numbers begin and end, if a colon and an array of nothing else follow."""
    at = _skip_space(body, at)
    if body[at : at + 1] != b":":
        return None
    at = _skip_space(body, at + 1)
    end = body.find(b"]", at)
    if body[at : at + 1] != b"[" or end < 0:
        return None
    if any(body.find(mark, at + 1, end) >= 0 for mark in _MARKS):
        return None
    return at + 1, end


def _skip_space(body: bytes, at: int) -> int:
    while body[at : at + 1] in _SPACES:
        at += 1
    return at
