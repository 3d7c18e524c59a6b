"""Requests in pieces: whatever the pieces, the same request, or one clear no."""

from __future__ import annotations

import pytest
from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader
from gunicorn.http.unreader import IterUnreader
from hypothesis import example, given
from hypothesis import strategies as st

from sam_backend.server.chunks import MOST_CHUNKS, BadChunk, Chunks
from sam_backend.server.receiving import LONGEST_HEAD, Incoming, Unusable

LIMIT = 1000


def incoming() -> Incoming:
    return Incoming(Config(), ("127.0.0.1", 1), lambda _request: LIMIT)


def post(*headers: str, body: bytes = b"") -> bytes:
    lines = ["POST /predict HTTP/1.1", "Host: sam", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


CHUNKED = post("Transfer-Encoding: chunked", body=b"3;x=1\r\n{ 1\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n")
KNOWN = post("Content-Length: 4", body=b"{ 1}")


@pytest.mark.parametrize("request_", [KNOWN, CHUNKED, CHUNKED + b"GET / HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_request_is_the_same_in_pieces_of_any_size(request_: bytes, size: int) -> None:
    made = incoming()
    for start in range(0, len(request_), size):
        if not made.is_complete:
            made.feed(request_[start : start + size])
    assert made.is_complete
    assert made.request.body.read() == b"{ 1}"
    assert ("CONTENT-LENGTH", "4") in made.request.headers
    assert "TRANSFER-ENCODING" not in dict(made.request.headers)


@pytest.mark.parametrize("length", ["1001", "9" * 18])
def test_a_body_over_the_limit_is_not_read(length: str) -> None:
    made = incoming()
    made.feed(post(f"Content-Length: {length}", body=b"{" * 10))
    assert made.is_complete
    assert made.held == 0
    assert ("CONTENT-LENGTH", length) in made.request.headers


def test_chunks_over_the_limit_are_not_kept() -> None:
    made = incoming()
    made.feed(post("Transfer-Encoding: chunked", body=b"fffffff\r\n" + b"x" * 2000))
    assert made.is_complete
    assert made.held == 0


@pytest.mark.parametrize(
    ("bytes_", "status"),
    [
        (post("Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"-1\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"f" * 16 + b"\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"1\r\nabc"), 400),
        (post("Transfer-Encoding: chunked", body=b"1;" + b"x" * 300), 400),
        (post("Transfer-Encoding: chunked", body=b"0\r\n" + b"A: b\r\n" * 5000), 400),
        (post("Transfer-Encoding: chunked", "Content-Length: 1", body=b"1"), 400),
        (post("Transfer-Encoding: gzip", body=b"1"), 400),
        (post("Transfer-Encoding: surprise", body=b"1"), 501),
        (post("Content-Length: -1"), 400),
        (post("Content-Length: 1", "Content-Length: 2"), 400),
        (post("Content-Length: one"), 400),
        (post("Expect: wonders"), 417),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01" * 3 + b"\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * LONGEST_HEAD, 431),
    ],
)
def test_an_invalid_request_gets_one_clear_error(bytes_: bytes, status: int) -> None:
    with pytest.raises(Unusable) as refused:
        incoming().feed(bytes_)
    assert refused.value.status == status
    assert len(str(refused.value)) <= 200
    assert "\n" not in str(refused.value)


def test_a_client_that_waits_for_a_go_ahead_gets_one() -> None:
    made = incoming()
    made.feed(post("Content-Length: 4", "Expect: 100-continue"))
    assert made.wants_100_continue()
    assert not made.wants_100_continue()
    made = incoming()
    made.feed(post("Content-Length: 4000", "Expect: 100-continue"))
    assert not made.wants_100_continue(), "its body is not wanted"


def gunicorn_reads(data: bytes) -> bytes | None:
    """The body as gunicorn's own reader, which waits for each byte, has it."""
    made = incoming()
    made.feed(post("Content-Length: 10"))
    try:
        body: bytes = ChunkedReader(made.request, IterUnreader([data])).read(1 << 20)
    except Exception:  # noqa: BLE001
        return None
    return body


_PIECES = st.sampled_from([b"1\r\n", b"2\r\n", b"a", b"bc", b"\r\n", b"0\r\n", b";x=1", b"\n"])


@given(st.lists(_PIECES, max_size=12).map(b"".join))
@example(b"1\r\na\r\n0\r\n\r\n")
def test_chunks_are_never_read_in_another_way_than_gunicorn_does(data: bytes) -> None:
    chunks, body = Chunks(), b""
    try:
        for byte in data:
            if not chunks.is_complete:
                body += chunks.feed(bytes([byte]))
    except BadChunk:
        return
    if chunks.is_complete:
        theirs = gunicorn_reads(data)
        assert theirs is None or theirs == body


def test_very_many_tiny_chunks_are_refused() -> None:
    with pytest.raises(BadChunk, match="chunks"):
        Chunks().feed(b"1\r\nx\r\n" * (MOST_CHUNKS + 1))


def test_what_is_sent_behind_a_request_takes_no_room() -> None:
    made = Incoming(Config(), ("127.0.0.1", 1), lambda _request: 0)
    made.feed(b"GET /metrics HTTP/1.1\r\nHost: sam\r\n\r\n" * 200)
    assert made.is_complete
    assert made.held == 0
