"""A limit on the new images and the decodes of one request, over all of its tasks and objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from sam_backend.errors import Refusal

# A click needs one new decode, or one for each prompt after a restart. A decode takes 20 to 40 ms.
DECODES_A_REQUEST = 24
# A search for the rest of a kind needs a decode for each example and for each promising place.
DECODES_A_SEARCH = 48
# A click is in one image. An encode takes as long as ten decodes.
IMAGES_A_REQUEST = 2
# Of all masks of a request at the sizes of their images. Each costs time, also one that is known.
MASK_PIXELS = 400_000_000


class OutOfBudget(Refusal):
    """The request has used up its decodes. Its masks are kept for the next request."""

    def __init__(self, most: int) -> None:
        super().__init__(
            "limit",
            f"the prompts of this click need more than {most} new masks at once: "
            "click again and the next ones follow, or accept the masks that are done",
        )


class OutOfPixels(OutOfBudget):
    """The request has used up its pixels of masks."""

    def __init__(self) -> None:
        Refusal.__init__(
            self,
            "limit",
            f"the masks of this click have over {MASK_PIXELS // 10**6} million pixels in all: "
            "accept the masks that are done, then click again",
        )


class OutOfImages(Refusal):
    """The request has got as many new images as it may."""

    def __init__(self) -> None:
        super().__init__(
            "limit",
            f"this request needs more than {IMAGES_A_REQUEST} new images at once: click again and "
            "the next ones follow",
        )


@dataclass
class _Budget:
    left: int
    refuse: Callable[[], Refusal]  # if none is left

    def spend(self) -> None:
        if self.left <= 0:
            raise self.refuse()
        self.left -= 1


def _of_decodes(most: int) -> _Budget:
    return _Budget(most, partial(OutOfBudget, most))


@dataclass
class _Budgets:
    click: _Budget
    search: _Budget
    images: _Budget
    pixels: int
    is_search: bool = False


_of_request: ContextVar[_Budgets | None] = ContextVar("click_budget", default=None)


@contextmanager
def shared() -> Iterator[None]:
    """Limits this thread's request within the block. Elsewhere there is no limit."""
    budgets = _Budgets(
        _of_decodes(DECODES_A_REQUEST),
        _of_decodes(DECODES_A_SEARCH),
        _Budget(IMAGES_A_REQUEST, OutOfImages),
        MASK_PIXELS,
    )
    token = _of_request.set(budgets)
    try:
        yield
    finally:
        _of_request.reset(token)


@contextmanager
def unlimited() -> Iterator[None]:
    """Does not count decodes within the block, for work that is known to need many."""
    token = _of_request.set(None)
    try:
        yield
    finally:
        _of_request.reset(token)


@contextmanager
def search() -> Iterator[None]:
    """Counts the decodes within the block against the request's limit for searches."""
    budgets = _of_request.get()
    if budgets is None:
        yield
        return
    budgets.is_search = True
    try:
        yield
    finally:
        budgets.is_search = False


def spend() -> None:
    """Counts a decode. OutOfBudget if this thread's request has none left."""
    budgets = _of_request.get()
    if budgets is not None:
        (budgets.search if budgets.is_search else budgets.click).spend()


def spend_image() -> None:
    """Counts a new image. OutOfImages if this thread's request has none left."""
    budgets = _of_request.get()
    if budgets is not None:
        budgets.images.spend()


def spend_pixels(count: int) -> None:
    """Counts the pixels of a mask that will be made. OutOfPixels if none are left.

    The first mask is always made, however large it is.
    """
    budgets = _of_request.get()
    if budgets is not None:
        if budgets.pixels < count and budgets.pixels < MASK_PIXELS:
            raise OutOfPixels
        budgets.pixels -= count
