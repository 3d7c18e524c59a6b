"""Which click came last with a prompt: a newer click makes the answer to an older one useless.

Each worker knows its own clicks only. An older click in another worker costs one decode that
nobody sees, some 20 ms, which is less than any shared file would cost to maintain.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from cachetools import LRUCache

_MOST = 1 << 14  # prompts that are remembered; a forgotten one overtakes nothing

_Key = tuple[Hashable, str]


@dataclass(frozen=True)
class Click:
    """One request: its number in this worker, and the prompts that it asks about."""

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
        keys = tuple((place, prompt_id) for prompt_id in prompt_ids)
        with self._lock:
            self._count += 1
            self._latest.update(dict.fromkeys(keys, self._count))
            return Click(self._count, keys)

    def is_overtaken(self, click: Click) -> bool:
        with self._lock:
            return any(self._latest.get(key, 0) > click.number for key in click.keys)
