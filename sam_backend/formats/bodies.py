"""Request bodies: JSON with megabytes of brush masks, few of which are ever decoded.

The masks are cut out by hand before orjson parses the rest: making a Python number of each byte
would take longer than a click, and no JSON parser offers to leave an array unparsed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

import orjson

_NAME = b'"rle"'
_KEY = re.compile(rb'"rle"[ \t\r\n]*:[ \t\r\n]*\[')


def parse(body: bytes) -> Any:
    """The JSON value, with the string "1, 2, …" in place of each brush mask `"rle": [1, 2, …]`.

    `rle.decode` reads both forms. JSONDecodeError if the body is not JSON.
    """
    # Replaces the key of a mask that was cut out. The sender of the body cannot guess it.
    unread = f"rle {secrets.token_hex(16)}"
    rest, masks = _without_masks(body, unread.encode())
    value = orjson.loads(rest)
    if masks:
        _put_back(value, masks, unread)
    return value


def _without_masks(body: bytes, unread: bytes) -> tuple[bytes, list[str]]:
    """The body with a number in place of each brush mask, and the masks."""
    kept, masks = list[bytes](), list[str]()
    start = 0
    # Found as bytes: an expression would look at each digit of the masks.
    at = body.find(_NAME)
    while at >= 0:
        key = _KEY.match(body, at)  # not "format": "rle"
        # The quote that opens a key is never escaped; in a string, this could be `…\"rle": [`.
        if key and body[at - 1 : at] != b"\\":
            end = _end_of_numbers(body, key.end())
            if end is not None:
                kept.append(b'%b"%b":%d' % (body[start:at], unread, len(masks)))
                masks.append(str(body[key.end() : end], "latin-1"))
                start = end + 1
        at = body.find(_NAME, max(at + 1, start))
    kept.append(body[start:])
    return b"".join(kept), masks


def _put_back(value: Any, masks: Sequence[str], unread: str) -> None:
    """Puts the masks back into the parsed rest of the body, in place."""
    unseen = [value]
    while unseen:
        node = unseen.pop()
        if isinstance(node, dict):
            if unread in node:
                node["rle"] = masks[node.pop(unread)]
            node = node.values()
        unseen.extend(inner for inner in node if isinstance(inner, (dict, list)))


def _end_of_numbers(body: bytes, begin: int) -> int | None:
    """The end of an array of numbers.

    The search stops at the next quote, so that a body with many keys is read once, not once a key.
    """
    quote = body.find(b'"', begin)
    end = body.find(b"]", begin, quote if quote >= 0 else len(body))
    # An array or an object inside means that this is not a list of numbers.
    if end < 0 or any(body.find(mark, begin, end) >= 0 for mark in (b"[", b"{")):
        return None
    return end
