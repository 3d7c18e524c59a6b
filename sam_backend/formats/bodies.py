"""Request bodies: megabytes of brush masks that hardly anybody reads, and some JSON around them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

import orjson

# The quote that opens a key is never escaped; in a string, this could be `…\"rle": [`.
_KEY = re.compile(rb'(?<!\\)"rle"[ \t\r\n]*:[ \t\r\n]*\[')


def parse(body: bytes) -> Any:
    """The JSON value; each brush mask `"rle": [1, 2, …]` is the string "1, 2, …" instead.

    A task carries the masks of its annotations and drafts, a number for each byte: making Python
    objects of them would take longer than a click. `rle.decode` reads both. JSONDecodeError if
    the body is not JSON.
    """
    # Stands for the key of a mask that was taken out. Whoever wrote the body cannot know it.
    unread = f"rle {secrets.token_hex(16)}"
    rest, masks = _without_masks(body, unread.encode())
    value = orjson.loads(rest)
    if masks:
        _put_back(value, masks, unread)
    return value


def _without_masks(body: bytes, unread: bytes) -> tuple[bytes, list[str]]:
    """The body with a number in each brush mask's stead, and the masks."""
    kept, masks = list[bytes](), list[str]()
    start = 0
    for key in _KEY.finditer(body):  # not "format": "rle"
        end = _end_of_numbers(body, key.end())
        if end is not None:
            kept.append(b'%b"%b":%d' % (body[start : key.start()], unread, len(masks)))
            masks.append(str(body[key.end() : end], "latin-1"))
            start = end + 1
    kept.append(body[start:])
    return b"".join(kept), masks


def _put_back(value: Any, masks: Sequence[str], unread: str) -> None:
    """The masks into the value that the rest of the body is, in place."""
    unseen = [value]
    while unseen:
        node = unseen.pop()
        if isinstance(node, dict):
            if unread in node:
                node["rle"] = masks[node.pop(unread)]
            node = node.values()
        unseen.extend(inner for inner in node if isinstance(inner, (dict, list)))


def _end_of_numbers(body: bytes, begin: int) -> int | None:
    """Where an array ends that holds nothing but numbers.

    It is looked for up to the next quote only: a body of many keys is read once, not once per key.
    """
    quote = body.find(b'"', begin)
    end = body.find(b"]", begin, quote if quote >= 0 else len(body))
    # With an array or an object in it, it is no list of numbers, or goes on behind.
    if end < 0 or any(body.find(mark, begin, end) >= 0 for mark in (b"[", b"{")):
        return None
    return end
