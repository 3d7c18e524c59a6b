"""Receives a request in pieces of any size: first its head, then its body."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from typing import Any

from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from sam_backend.server.chunks import BadChunk, Chunks

LONGEST_HEAD = 32768
_END = b"\r\n\r\n"
_LONGEST_SAID = 200

_STATUS: dict[type[Exception], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}


class Unusable(Exception):
    """The bytes are not a request that can be answered."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message[:_LONGEST_SAID])
        self.status = status


class Incoming:
    """One request. Gunicorn's own parser reads the head, so both always agree about it.

    A body over its limit is not read. The request then has an empty body and the original length,
    so that the app refuses it.
    """

    def __init__(self, config: Config, client: object, limit: Callable[[Any], int]) -> None:
        self._config = config
        self._client = client
        self._limit_of = limit
        self._buffer = bytearray()
        self._chunks: Chunks | None = None
        self._length = 0
        self.limit = 0  # bytes that the body may have
        self.request: Any = None
        self.is_complete = False
        self.held = 0  # bytes in memory

    def feed(self, data: bytes | memoryview) -> None:
        """Takes the next bytes. Unusable if they are not part of a valid request."""
        if self.request is None:
            self._read_head(data)
        elif self._chunks:
            self._read_chunks(self._chunks, data)
        else:
            self._buffer += data
        self.held = len(self._buffer)
        if self.request is not None:
            self._end_if_complete()

    def wants_100_continue(self) -> bool:
        """Whether the client waits for "100 Continue" before it sends the body. True only once."""
        if self.request is None:
            return False
        wanted: bool = self.request._expected_100_continue  # noqa: SLF001 (not public)
        self.request._expected_100_continue = False  # noqa: SLF001 (gunicorn would send it too)
        return wanted and not self.is_complete

    def _read_head(self, data: bytes | memoryview) -> None:
        searched = max(0, len(self._buffer) - len(_END) + 1)
        self._buffer += data
        end = self._buffer.find(_END, searched)
        if end > LONGEST_HEAD or (end < 0 and len(self._buffer) > LONGEST_HEAD):
            raise Unusable(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the request's headers are over {LONGEST_HEAD} bytes",
            )
        if end < 0:
            return
        head, rest = bytes(self._buffer[: end + len(_END)]), bytes(self._buffer[end + len(_END) :])
        self._buffer.clear()
        try:
            self.request = Request(self._config, IterUnreader([head]), self._client)
        except (errors.ParseException, OSError, StopIteration) as error:
            status = _STATUS.get(type(error), HTTPStatus.BAD_REQUEST)
            raise Unusable(status, f"the request is malformed: {error}") from None
        self.limit = self._limit_of(self.request)
        reader = self.request.body.reader
        if isinstance(reader, ChunkedReader):
            self._chunks = Chunks()
            self._read_chunks(self._chunks, rest)
        else:
            self._length = reader.length if isinstance(reader, LengthReader) else 0
            self._buffer += rest

    def _read_chunks(self, chunks: Chunks, data: bytes | memoryview) -> None:
        try:
            self._buffer += chunks.feed(data)
        except BadChunk as error:
            raise Unusable(HTTPStatus.BAD_REQUEST, f"the request is malformed: {error}") from None
        self._length = len(self._buffer)

    def _end_if_complete(self) -> None:
        if self._length > self.limit:
            self._buffer.clear()
            self.held = 0
        elif len(self._buffer) < self._length or (self._chunks and not self._chunks.is_complete):
            return
        self.is_complete = True
        with memoryview(self._buffer) as view:
            body = bytes(view[: self._length])
        self._buffer.clear()
        self.request.body = BytesIO(body)
        self.held = len(body)  # without what the client sent behind the request
        # The app always gets a body of known length.
        framing = ("CONTENT-LENGTH", "TRANSFER-ENCODING")
        kept = [(name, value) for name, value in self.request.headers if name not in framing]
        self.request.headers = [*kept, ("CONTENT-LENGTH", str(self._length))]
