"""Request bodies: megabytes of brush masks that hardly anybody reads, and some JSON around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

_KEY = b'"rle"'
_UNREAD = "rle (unread)"  # stands for the key of a mask that was taken out, with its number
_SPACES = (b" ", b"\t", b"\r", b"\n")


def parse(body: bytes) -> Any:
    """The JSON value; each brush mask `"rle": [1, 2, …]` is the string "1, 2, …" instead.

    A task carries the masks of its annotations and drafts, a number for each byte: making Python
    objects of them would take longer than a click. `rle.decode` reads both. JSONDecodeError if
    the body is not JSON.
    """
    rest, masks = _without_masks(body)
    value = orjson.loads(rest)
    if masks:
        _put_back(value, masks)
    return value


def _without_masks(body: bytes) -> tuple[bytes, list[str]]:
    """The body with a number in each brush mask's stead, and the masks."""
    kept, masks = list[bytes](), list[str]()
    start = at = 0
    # Within a JSON string a quote is escaped, so these bytes are always a whole string.
    while (at := body.find(_KEY, at)) >= 0:
        key, at = at, at + len(_KEY)
        numbers = _array_after(body, at)
        if numbers is not None:  # not "format": "rle"
            first, end = numbers
            kept.append(b'%b"%b":%d' % (body[start:key], _UNREAD.encode(), len(masks)))
            masks.append(str(body[first:end], "latin-1"))
            start = at = end + 1
    kept.append(body[start:])
    return b"".join(kept), masks


def _put_back(value: Any, masks: Sequence[str]) -> None:
    """The masks into the value that the rest of the body is, in place."""
    unseen = [value]
    while unseen:
        node = unseen.pop()
        if isinstance(node, dict):
            number = node.get(_UNREAD)
            if isinstance(number, int) and number < len(masks):
                node["rle"] = masks[node.pop(_UNREAD)]
            node = node.values()
        unseen.extend(inner for inner in node if isinstance(inner, (dict, list)))


def _array_after(body: bytes, at: int) -> tuple[int, int] | None:
    """Where the numbers begin and end, if a colon and an array of nothing else follow."""
    at = _skip_space(body, at)
    if body[at : at + 1] != b":":
        return None
    at = _skip_space(body, at + 1)
    end = body.find(b"]", at)
    if body[at : at + 1] != b"[" or end < 0:
        return None
    # With a string, an array or an object in it, it is no list of numbers, or goes on behind.
    if any(body.find(mark, at + 1, end) >= 0 for mark in (b'"', b"[", b"{")):
        return None
    return at + 1, end


def _skip_space(body: bytes, at: int) -> int:
    while body[at : at + 1] in _SPACES:
        at += 1
    return at
