"""Encodes images ahead of the first click, in one thread, the newest job first."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from sam_backend import metrics

logger = logging.getLogger("sam_backend")

Job = Callable[[], object]


class Prefetcher:
    """A bounded stack of jobs by name. If there are too many, the oldest are dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def ask(self, name: str, job: Job, *, behind: bool = False) -> None:
        """Adds a job and returns at once. Adding it again makes it the newest. It may never run.

        A job that runs `behind` the others displaces none of them.
        """
        with self._changed:
            if behind and name in self._jobs:
                return
            self._jobs[name] = job
            self._jobs.move_to_end(name, last=not behind)
            while len(self._jobs) > self._most:
                self._jobs.popitem(last=False)
            metrics.QUEUE.labels("prefetch").set(len(self._jobs))
            if self._thread is None:  # not earlier, because a server may fork after its setup
                self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
                self._thread.start()
            self._changed.notify()

    def __len__(self) -> int:
        return len(self._jobs)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs)
                _, job = self._jobs.popitem(last=True)
                metrics.QUEUE.labels("prefetch").set(len(self._jobs))
            try:
                job()
            except Exception as error:  # noqa: BLE001 (the click on that image will report it)
                logger.debug("prefetch: %s", error)  # the name may contain a signature
                metrics.PREFETCH.labels("failed").inc()
            else:
                metrics.PREFETCH.labels("done").inc()
