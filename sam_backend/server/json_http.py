"""JSON in requests and in answers, for every route."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from flask import Response, request
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    RequestEntityTooLarge,
    RequestTimeout,
)

from sam_backend.formats import bodies
from sam_backend.server.admission import LARGE_BODIES

Handler = Callable[..., Response]


def answer(value: object, status_code: int = 200) -> Response:
    return Response(orjson.dumps(value), status=status_code, mimetype="application/json")


def json_object() -> Mapping[str, Any]:
    """The request's JSON object. Its brush masks stay undecoded."""
    try:
        with _nothing_collected():
            body = bodies.parse(content())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Without Python's search for cycles, of which JSON has none: it takes longer than parsing.

    Other threads, clicks among them, stand still while a large body is parsed.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def content() -> bytes:
    """The request's body.

    A body of known length is read at once. Flask reads small pieces, and with a hundred masks in
    the body this takes as long as a new mask.
    """
    try:
        return _read()
    except RequestEntityTooLarge:
        limit = (request.max_content_length or 0) >> 20
        advice = ": MAX_BODY_MB sets the limit" if request.path in LARGE_BODIES else ""
        raise RequestEntityTooLarge(f"the request is over {limit} MB{advice}") from None
    except ClientDisconnected:
        raise RequestTimeout("the rest of the request is missing") from None


def _read() -> bytes:
    length = request.content_length
    if length is None or length > (request.max_content_length or 0):
        return request.get_data()  # Flask counts the bytes and refuses too many
    body: bytes = request.environ["wsgi.input"].read(length)
    if len(body) < length:
        raise ClientDisconnected
    return body
