"""Notes what a click's request does, and how long each stage of its answer takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

# In the order in which a click passes them. `queue` is time spent waiting for other clicks,
# `image` the fetch and the decoding of the picture file, `answer` all the rest.
STAGES = ("queue", "image", "encode", "decode", "answer")
_REST = "answer"

THUMBNAIL_SIDE = 96  # pixels

# The id of the prompt with which the doctor tries a click.
CHECK_PROMPT = "sam-backend-doctor"

Mask = npt.NDArray[np.bool_]


class _Prompt(Protocol):
    """The parts of a smart keypoint or rectangle that are counted."""

    @property
    def id(self) -> str: ...
    @property
    def is_rectangle(self) -> bool: ...
    @property
    def is_positive(self) -> bool: ...


class WatchedClick:
    """Stages of one request. They do not overlap: their times add up to that of the request."""

    def __init__(self, *, keeps_thumbnail: bool = False) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.positive = self.negative = self.boxes = 0
        self.is_check = False
        self.regions = 0
        self.outcome = ""  # why there is no mask, in a word
        self.thumbnail: Mask | None = None  # (h, w), each side at most THUMBNAIL_SIDE
        self._keeps_thumbnail = keeps_thumbnail
        self._stage, self._since = _REST, perf_counter()

    def enter(self, stage: str) -> str:
        """Begins a stage. Returns the stage that it interrupts."""
        now = perf_counter()
        self.seconds[self._stage] += now - self._since
        interrupted, self._stage, self._since = self._stage, stage, now
        return interrupted

    def stop(self) -> None:
        """Ends the clock: the answer is made."""
        self.enter(_REST)

    @property
    def has_prompts(self) -> bool:
        return self.positive + self.negative + self.boxes > 0

    def saw_prompts(self, prompts: Iterable[_Prompt]) -> None:
        """Counts the prompts that the answer is made from: sent with the click, or remembered."""
        for prompt in prompts:
            self.boxes += prompt.is_rectangle
            self.positive += prompt.is_positive and not prompt.is_rectangle
            self.negative += not prompt.is_positive and not prompt.is_rectangle
            self.is_check |= prompt.id == CHECK_PROMPT

    def saw_mask(self, mask: Mask) -> None:
        """A mask (H, W) of the answer. The last one becomes the thumbnail, if one is wanted."""
        self.regions += 1
        if self._keeps_thumbnail:
            step = -(-max(mask.shape) // THUMBNAIL_SIDE)
            self.thumbnail = mask[::step, ::step].copy()  # the mask itself may have 200 MB


_of_request: ContextVar[WatchedClick | None] = ContextVar("watched_click", default=None)


@contextmanager
def watched(click: WatchedClick) -> Iterator[None]:
    """Makes this the click of `stage` and `current`, in this thread and within the block."""
    token = _of_request.set(click)
    try:
        yield
    finally:
        _of_request.reset(token)


def current() -> WatchedClick:
    """The click that this thread answers. For commands and prefetches, one that nobody keeps."""
    return _of_request.get() or WatchedClick()


@contextmanager
def stage(name: str) -> Iterator[None]:
    """The time within belongs to a stage, except for the stages that begin within."""
    click = _of_request.get()
    if click is None:
        yield
        return
    interrupted = click.enter(name)
    try:
        yield
    finally:
        click.enter(interrupted)
