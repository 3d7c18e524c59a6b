"""How long one request may work on masks: all of its tasks and objects together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sam_backend.errors import Refusal

# A click takes a tenth of a second. Label Studio waits 100 s, and an annotator nowhere near.
CLICK_SECONDS = 20.0


class _Budget:
    """What is left, in seconds, and since when it is being spent."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.since: float | None = None


_of_request: ContextVar[_Budget | None] = ContextVar("click_budget", default=None)


@contextmanager
def shared(seconds: float = CLICK_SECONDS) -> Iterator[None]:
    """Within, this thread's request has so long for its masks."""
    token = _of_request.set(_Budget(seconds))
    try:
        yield
    finally:
        _of_request.reset(token)


@contextmanager
def spent() -> Iterator[None]:
    """Within, time counts: waiting for an image does not."""
    budget = _of_request.get()
    if budget is None:
        yield
        return
    budget.since = time.monotonic()
    try:
        check()
        yield
    finally:
        budget.left -= time.monotonic() - budget.since
        budget.since = None


def check() -> None:
    """Refusal if this thread's request has used up its time."""
    budget = _of_request.get()
    if budget is None:
        return
    spending = 0.0 if budget.since is None else time.monotonic() - budget.since
    if spending >= budget.left:
        raise Refusal(
            "limit",
            "the prompts of this click take too long: accept the masks that are done, which "
            "removes their prompts, and go on clicking on those that are not",
        )
