"""A limit on the masks that one request decodes, over all of its tasks and objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sam_backend.errors import Refusal

# A click needs one new decode, or one for each prompt after a restart. A decode takes 20 to 40 ms.
DECODES_A_REQUEST = 24


class OutOfBudget(Refusal):
    """The request has used up its decodes. Its masks are kept for the next request."""

    def __init__(self) -> None:
        super().__init__(
            "limit",
            f"the prompts of this click need more than {DECODES_A_REQUEST} new masks at once: "
            "click again and the next ones follow, or accept the masks that are done",
        )


class _Budget:
    def __init__(self) -> None:
        self.left = DECODES_A_REQUEST


_of_request: ContextVar[_Budget | None] = ContextVar("click_budget", default=None)


@contextmanager
def shared() -> Iterator[None]:
    """Limits the decodes of this thread's request within the block. Elsewhere there is no limit."""
    token = _of_request.set(_Budget())
    try:
        yield
    finally:
        _of_request.reset(token)


@contextmanager
def unlimited() -> Iterator[None]:
    """Within, decodes are not counted: for work that is known to need many."""
    token = _of_request.set(None)
    try:
        yield
    finally:
        _of_request.reset(token)


def spend() -> None:
    """Counts a decode. OutOfBudget if this thread's request has none left."""
    budget = _of_request.get()
    if budget is None:
        return
    if budget.left <= 0:
        raise OutOfBudget
    budget.left -= 1
