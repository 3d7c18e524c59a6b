"""The memory of clicks on one task: earlier prompts, and the newest click.

Each worker knows the newest of its own clicks only. An older click in another worker costs one
decode that nobody sees, some 20 ms, which is less than any shared file would cost to maintain.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TypeVar

from cachetools import LRUCache

from sam_backend.clicks.joining import Draft, EarlierClick, ended, join
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.shared import stale
from sam_backend.shared.earlier_clicks import EarlierClicks
from sam_backend.shared.projects import Project
from sam_backend.shared.state import State

T = TypeVar("T")

_MOST = 1 << 14  # the most prompts to remember; a forgotten one overtakes nothing

_Key = int  # a hash: places and prompts have names of any length, which requests choose


@dataclass(frozen=True)
class Click:
    """One request: its number in this worker, and its prompts."""

    number: int
    keys: tuple[_Key, ...]


class LatestClicks:
    """The newest click for each place (project, task, target) and prompt.

    Two annotators may click in one task with one label. Only an annotator's own editor sends the
    prompts of its older request again, so clicks without a common prompt leave each other alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: LRUCache[_Key, int] = LRUCache(maxsize=_MOST)
        self._count = 0

    def begin(self, place: Hashable, prompt_ids: Iterable[str]) -> Click:
        """Registers a click, which overtakes the older ones with any of its prompts."""
        keys = tuple(hash((place, prompt_id)) for prompt_id in prompt_ids)
        with self._lock:
            self._count += 1
            self._latest.update(dict.fromkeys(keys, self._count))
            return Click(self._count, keys)

    def is_overtaken(self, click: Click) -> bool:
        with self._lock:
            return any(self._latest.get(key, 0) > click.number for key in click.keys)


class ClickedTask:
    """A task during a click: its project, and what earlier clicks on it left behind."""

    def __init__(self, project: Project, earlier: EarlierClicks, latest: LatestClicks) -> None:
        self.project = project
        self._earlier = earlier
        self._latest = latest

    def earlier(self, target: Target, image: str) -> EarlierClick:
        return self._earlier.of(target, image)

    def turn(
        self, target: Target, image: str, prompts: tuple[Prompt, ...]
    ) -> AbstractContextManager[None]:
        """The block of a request, which a newer request with the same prompts overtakes."""
        place = (self._earlier.project, self._earlier.task, target, image)
        click = self._latest.begin(place, (prompt.id for prompt in prompts))
        return stale.overtaken_by(lambda: self._latest.is_overtaken(click))

    def join(
        self,
        target: Target,
        image: str,
        draft: Draft,
        context: tuple[Prompt, ...],
        *,
        sent: bool = True,
    ) -> tuple[Prompt, ...]:
        """The prompts of the context, and earlier prompts that are still on the image.

        `sent` is false if the draft stands in for an empty context.
        """
        prompts = context

        def change(earlier: EarlierClick) -> EarlierClick:
            nonlocal prompts
            prompts, after = join(context, earlier, draft, time.time(), target.aspect)
            return after if sent else replace(after, sends_rectangles=earlier.sends_rectangles)

        self._earlier.change(target, image, change)
        return prompts


class ClickMemory:
    """Joins the prompts of a click with earlier ones, and lets newer clicks overtake older ones."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.latest = LatestClicks()

    def click(self, project: str, task_id: str, plan: Callable[[ClickedTask], T]) -> T:
        """What `plan` makes of a task and its project.

        The shared file is opened once for it. If that fails, there are no earlier clicks.
        """

        def planned(known: Project, earlier: EarlierClicks) -> T:
            return plan(ClickedTask(known, earlier, self.latest))

        return self._state.click(project, task_id, planned)

    def ended(self, task_id: str) -> None:
        """Forgets a task's prompts, because its annotation was saved or deleted."""
        self._state.change_earlier_clicks(task_id, ended)
