"""Request bodies: megabytes of brush masks that nobody here reads, and some JSON around them."""

from __future__ import annotations

from typing import Any

import orjson

_KEY = b'"rle"'
_SPACES = (b" ", b"\t", b"\r", b"\n")


def parse(body: bytes) -> Any:
    """The JSON value, each brush mask `"rle": [1, 2, …]` empty. JSONDecodeError if it is none.

    A task carries the masks of its annotations and drafts, a number for each byte: making Python
    objects of them would take longer than a click.
    """
    return orjson.loads(without_masks(body))


def without_masks(body: bytes) -> bytes:
    """The body with the numbers of its brush masks left out."""
    kept: list[bytes] = []
    start = 0
    # Within a JSON string a quote is escaped, so these bytes are always a whole string.
    while (at := body.find(_KEY, start)) >= 0:
        numbers = _array_after(body, at + len(_KEY))
        if numbers is None:  # "format": "rle"
            kept.append(body[start : at + len(_KEY)])
            start = at + len(_KEY)
        else:
            kept.append(body[start : numbers[0]])
            start = numbers[1]
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
    if any(body.find(mark, at + 1, end) >= 0 for mark in (b'"', b"[", b"{")):
        return None
    return at + 1, end


def _skip_space(body: bytes, at: int) -> int:
    while body[at : at + 1] in _SPACES:
        at += 1
    return at
