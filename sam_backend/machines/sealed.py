"""Small values with a checksum of themselves and of their place.

A value that is damaged, or that lies at another key, is a miss. The checksum does not sign: anybody
who can write into the server can make one too.
"""

from __future__ import annotations

import hashlib

_BYTES = 8


def seal(place: str, value: bytes) -> bytes:
    """A value for a place: its key, or its key and field."""
    return _checksum(place, value) + value


def unsealed(place: str, content: object) -> bytes | None:
    """The value. None if it is missing, damaged or from another place."""
    if not isinstance(content, bytes):
        return None
    value = content[_BYTES:]
    return value if content[:_BYTES] == _checksum(place, value) else None


def _checksum(place: str, value: bytes) -> bytes:
    return hashlib.blake2b(place.encode() + b"\0" + value, digest_size=_BYTES).digest()
