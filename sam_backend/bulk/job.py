"""The work that all workers of a run share, and the answer to one task, wherever it is computed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sam_backend.bulk import preview
from sam_backend.bulk.answers import answer_tasks
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.bulk.task_stores import Task
from sam_backend.bulk.work import Work
from sam_backend.engines import choice
from sam_backend.services import Services
from sam_backend.settings import Settings


@dataclass(frozen=True)
class Job:
    """The work that all workers of a run share."""

    settings: Settings
    project: str
    config_xml: str
    work: Work
    preview: Path | None

    def on(self, device: str) -> Job:
        """The same work on another device."""
        settings = dataclasses.replace(self.settings, device=device)
        return dataclasses.replace(self, settings=settings)


class Pool(Protocol):
    """Workers that each have an engine: processes of this machine, or actors of a Ray cluster."""

    def answers(self, tasks: Iterator[tuple[str, Task]]) -> Iterator[tuple[str, Task, TaskAnswer]]:
        """One answer for each task, in the order in which they finish.

        Reads only one task per worker ahead. Closing the iterator ends the workers.
        """
        ...


class Tasker:
    """A worker's engine and its answers. It opens the engine at the first task that needs it."""

    def __init__(self, job: Job, threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # PyTorch reads it at import
        self._job = job
        chosen = choice.plan(job.settings)
        self._services = Services(
            job.settings, chosen.model_version, lambda: choice.open_engine(chosen, threads)
        )

    def answer(self, key: str, task: Task) -> TaskAnswer:
        """The answer to a task, with its preview if the job wants one."""
        job = self._job
        work = [(task, job.work)]
        [answer] = answer_tasks(self._services, job.project, job.config_xml, work)
        assert answer is not None  # noqa: S101 (there is no deadline)
        if job.preview is not None and answer.regions:
            path = preview.path(job.preview, task.get("id", key))
            return preview.added(self._services, job.project, job.config_xml, task, answer, path)
        return answer
