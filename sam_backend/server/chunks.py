"""Decodes a chunked body (RFC 9112, 7.1) as it arrives."""

from __future__ import annotations

import re

# Even a small chunk costs some time. With chunks of 8 kB, the largest request needs fewer.
MOST_CHUNKS = 100_000
_LONGEST_LINE = 256
_LONGEST_TRAILERS = 8192

_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_END = b"\r\n"


class BadChunk(ValueError):
    """The bytes are not valid chunks."""


class Chunks:
    """Takes bytes as they arrive and returns the body. It ignores extensions and trailers."""

    def __init__(self) -> None:
        self.is_complete = False
        self._rest = bytearray()  # received, but not decoded yet
        self._left = 0  # bytes of the present chunk
        self._count = 0
        self._is_data_over = False  # the line end after the data is still missing
        self._trailers: int | None = None  # their bytes, after the last chunk

    def feed(self, data: bytes | memoryview) -> bytes:
        """The part of the body that these bytes bring."""
        self._rest += data
        body = bytearray()
        while not self.is_complete:
            if self._left:
                part = self._rest[: self._left]
                if not part:
                    break
                del self._rest[: len(part)]
                body += part
                self._left -= len(part)
                self._is_data_over = not self._left
            elif self._is_data_over:
                if len(self._rest) < len(_END):
                    break
                if not self._rest.startswith(_END):
                    raise BadChunk("a chunk is longer than it says")
                del self._rest[: len(_END)]
                self._is_data_over = False
            elif (line := self._line()) is None:
                break
            elif self._trailers is None:
                self._begin(line)
            else:
                self._skip_trailer(line)
        return bytes(body)

    def _line(self) -> bytes | None:
        end = self._rest.find(_END)
        if end > _LONGEST_LINE or (end < 0 and len(self._rest) > _LONGEST_LINE):
            raise BadChunk(f"a line between chunks is over {_LONGEST_LINE} bytes")
        if end < 0:
            return None
        line = bytes(self._rest[:end])
        del self._rest[: end + len(_END)]
        return line

    def _begin(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise BadChunk("a chunk's size is not a hexadecimal number")
        self._count += 1
        if self._count > MOST_CHUNKS:
            raise BadChunk(f"the body has over {MOST_CHUNKS} chunks")
        self._left = int(found[1], 16)
        if not self._left:
            self._trailers = 0

    def _skip_trailer(self, line: bytes) -> None:
        self._trailers = (self._trailers or 0) + len(line)
        if self._trailers > _LONGEST_TRAILERS:
            raise BadChunk(f"the trailers are over {_LONGEST_TRAILERS} bytes")
        self.is_complete = not line
