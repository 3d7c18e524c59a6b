"""Processes that make answers, each with its own engine.

A process that dies, for example of too large an image, loses its task, and a new one replaces it.
All of them end with the run, even if the run is killed.

The pool is written by hand: in concurrent.futures, one dead process breaks the whole pool.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from sam_backend.bulk.job import Job, Tasker
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.bulk.task_stores import Task
from sam_backend.cores import cores

_END_S = 10.0


@dataclass
class _Worker:
    device: str
    process: BaseProcess
    pipe: Connection
    key: str = ""  # of its present task
    task: Task = dataclasses.field(default_factory=dict)


class Workers:
    """Processes that share the cores of the machine and use its devices in turn."""

    def __init__(self, job: Job, count: int, devices: list[str]) -> None:
        self._job = job
        self._threads = max(1, cores() // count)
        self._devices = [devices[number % len(devices)] for number in range(count)]

    def answers(self, tasks: Iterator[tuple[str, Task]]) -> Iterator[tuple[str, Task, TaskAnswer]]:
        """The answers, in the order in which they finish. Reads only one task per worker ahead."""
        busy: list[_Worker] = []
        try:
            for device, (key, task) in zip(self._devices, tasks, strict=False):
                busy.append(_give(self._start(device), key, task))
            while busy:
                ready = wait([worker.pipe for worker in busy])
                for worker in [worker for worker in busy if worker.pipe in ready]:
                    busy.remove(worker)
                    key, task = worker.key, worker.task
                    following = next(tasks, None)
                    try:
                        answer: TaskAnswer = worker.pipe.recv()
                    except (EOFError, ConnectionError):
                        answer = TaskAnswer([], (_death(worker.process),))
                        worker.pipe.close()
                        if following is not None:
                            busy.append(_give(self._start(worker.device), *following))
                    else:
                        if following is None:
                            _end(worker)
                        else:
                            busy.append(_give(worker, *following))
                    yield key, task, answer
        finally:
            for worker in busy:
                worker.process.terminate()
                _end(worker)

    def _start(self, device: str) -> _Worker:
        # Spawned, because no runtime survives a fork, and a fork would keep other pipes open.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = theirs, self._job.on(device), self._threads
        process = context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return _Worker(device, process, ours)


def _give(worker: _Worker, key: str, task: Task) -> _Worker:
    worker.key, worker.task = key, task
    with contextlib.suppress(ConnectionError):  # the worker died, and its answer will say so
        worker.pipe.send((key, task))
    return worker


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.join(_END_S)
    worker.process.close() if worker.process.exitcode is not None else worker.process.kill()


def _death(process: BaseProcess) -> str:
    process.join(_END_S)
    reason = f"signal {-code}" if (code := process.exitcode or 0) < 0 else f"status {code}"
    return f"the worker ended with {reason}: is there enough memory? Try fewer --workers"


def _work(pipe: Connection, job: Job, threads: int) -> None:
    """Answers tasks until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run handles Ctrl-C and closes the pipe
    tasker = Tasker(job, threads)
    try:
        while True:
            pipe.send(tasker.answer(*pipe.recv()))
    except (EOFError, ConnectionError):
        pass
