"""Errors as RFC 9457 has them, for the routes of programs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from flask import Response
from werkzeug.exceptions import HTTPException, NotFound, UnprocessableEntity

from sam_backend import lines, metrics
from sam_backend.errors import Refusal

MIMETYPE = "application/problem+json"
_PREFIXES = ("/v1/", "/sam2/")


def has_problems(path: str) -> bool:
    """Whether errors of this route are problems."""
    return path.startswith(_PREFIXES)


def problem(status: int, detail: object) -> Response:
    """An error for a program."""
    return Response(content(status, detail), status=status, mimetype=MIMETYPE)


def content(status: int, detail: object) -> bytes:
    """The body of an error."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": lines.one_line(detail),
    }
    return orjson.dumps(body)


def of_refusal(refusal: Refusal) -> HTTPException:
    """The error for a request that can be read, but cannot be answered with a mask."""
    metrics.REFUSALS.labels(refusal.cause).inc()
    return UnprocessableEntity(str(refusal))


def unknown_image() -> HTTPException:
    return NotFound("no image has this id, or it is no longer kept: embed the image again")


def unknown_answer() -> HTTPException:
    return NotFound("no answer about this image has this id: segment the object again")
