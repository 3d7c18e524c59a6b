"""Goes through the tasks of a run, and stores an answer for each."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sam_backend.bulk.answers import planned
from sam_backend.bulk.job import Pool
from sam_backend.bulk.progress import progress
from sam_backend.bulk.tally import Tally
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.bulk.task_stores import PredictionStore, Task, Tasks
from sam_backend.bulk.work import Work
from sam_backend.errors import Refusal

_MOST_REFUSED = 5  # after this many rejected predictions in a row, Label Studio is down or too old


def run(tasks: Tasks, output: PredictionStore, pool: Pool, model_version: str) -> Tally:
    """Has workers answer all tasks that have no stored answer yet."""
    tally, refused = Tally(), 0
    bar = progress(len(tasks))

    def waiting() -> Iterator[tuple[str, Task]]:
        for key, task in tasks:
            if output.has(key):
                tally.before += 1
                bar.initial += 1  # an earlier run's tasks say nothing about the rate
                bar.update()
            else:
                yield key, task

    answers = pool.answers(waiting())
    try:
        for key, task, answer in answers:
            prediction = answer.prediction(model_version)
            try:
                output.put(key, task, prediction, complete=not answer.failures)
                refused = 0
            except Refusal as refusal:
                refused += 1
                answer = TaskAnswer([], (*answer.failures, str(refusal)))  # noqa: PLW2901
            tally.add(task, key, answer)
            bar.update()
            if refused == _MOST_REFUSED:
                print("\nLabel Studio accepts no predictions: stopped early", file=sys.stderr)
                break
    finally:
        answers.close()  # type: ignore[attr-defined]  # a generator: it ends the processes
        bar.close()
    output.finish(tasks, complete=not tally.failed)
    return tally


def dry_run(tasks: Tasks, work: Work, model_version: str) -> Tally:
    """Counts what a run would do. It opens no engine and reads no image."""
    tally = Tally()
    for key, task in tasks:
        answer = planned(tasks.config_xml, task, work, model_version)
        tally.add(task, key, answer)
    return tally
