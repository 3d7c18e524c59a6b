"""How each request of a program is handled: its turn, its JSON, its errors and its time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from time import perf_counter
from typing import Any, Concatenate, ParamSpec, TypeVar

from flask import Response
from werkzeug.exceptions import RequestTimeout

from sam_backend import metrics
from sam_backend.errors import Busy, Refusal
from sam_backend.server.json_http import Handler, answer, json_object
from sam_backend.server.programs import fields, problems
from sam_backend.server.programs.shared_parts import SharedParts
from sam_backend.shared.stale import Stale

Fields = dict[str, Any]
Routes = dict[str, tuple[list[str], Handler]]  # methods and handlers by their rules


class ProgramRoutes:
    """Some routes of programs, with the parts that all of them share."""

    def __init__(self, parts: SharedParts) -> None:
        self.parts = parts


P = ParamSpec("P")
S = TypeVar("S", bound=ProgramRoutes)


def answered(
    method: Callable[Concatenate[S, P], Fields],
) -> Callable[Concatenate[S, P], Response]:
    """A method as a handler: with the limits of a click, refusals as problems, and its time."""

    @wraps(method)
    def handle(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            with self.parts.admitted():
                started = perf_counter()
                found = method(self, *args, **kwargs)
        except Busy:  # it has an HTTP status of its own
            raise
        except Refusal as refusal:
            raise problems.of_refusal(refusal) from None
        except Stale:
            metrics.STALE.inc()
            raise RequestTimeout("nobody waits for the answer") from None
        return answer({**found, "milliseconds": round(1000 * (perf_counter() - started), 1)})

    return handle


def body_with(*names: str) -> Mapping[str, Any]:
    """The JSON object of the request, which has no other fields than these."""
    body = json_object()
    fields.known(body, *names)
    return body
