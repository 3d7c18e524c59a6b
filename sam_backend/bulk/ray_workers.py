"""Workers on the machines of a Ray cluster. Each one is an actor with an engine of its own.

Plain actors and not Ray Data: Ray Data repeats a task that kills its worker without end, or not at
all, and it needs pandas and PyArrow. Here a task has three tries, and no more than one task per
actor is on its way. Ray restarts no actor and repeats no task by itself, so this module alone says
what runs twice.

The settings have the token of Label Studio. They go to each actor as an argument of a call,
straight from this process. An actor's constructor and its environment would be stored by Ray, which
shows them. Ray also stores large arguments, so the work, which may have masks, is one of its own.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from sam_backend import __version__
from sam_backend.bulk.job import Job, Tasker
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.bulk.task_stores import Task
from sam_backend.bulk.work import Work
from sam_backend.engines import choice
from sam_backend.errors import Refusal, SettingsError
from sam_backend.settings import Settings

logger = logging.getLogger("sam_backend")

THIS_CLUSTER = "auto"  # the one that this machine belongs to
_TRIES = 3  # for a task whose actor or machine dies
_CONNECT_S = 5.0
_PATIENCE_S = 30.0  # until a line says that no worker has a place


class RemoteWorker:
    """An actor: it opens the engine once, and answers one task at a time."""

    def __init__(self) -> None:
        self._tasker: Tasker | None = None

    def open(
        self,
        settings: Settings,
        project: str,
        config_xml: str,
        work: Work,
        version: str,
        model_version: str,
    ) -> str:
        """What keeps this machine from working as the others do, or nothing."""
        host = socket.gethostname()
        if version != __version__:
            return f"{host} has sam_backend {__version__}, and this run {version}"
        try:
            chosen = choice.plan(settings)
            choice.check(chosen)
        except SettingsError as error:
            return f"{host}: {error}"
        if chosen.model_version != model_version:
            return f"{host} has the weights {chosen.model_version}, and this run {model_version}"
        job = Job(settings, project, config_xml, work, preview=None)
        self._tasker = Tasker(job, threads=1)
        return ""

    def answer(self, key: str, task: Task) -> TaskAnswer:
        assert self._tasker is not None  # noqa: S101 (`open` comes first)
        return self._tasker.answer(key, task)


@dataclass
class _Todo:
    key: str
    task: Task
    tries: int = 0


@dataclass
class _Actor:
    device: str
    handle: Any
    todo: _Todo | None = None  # None: it opens its engine, or has nothing to do


class RayWorkers:
    """Actors with one core each, and one GPU each for the device `cuda`."""

    def __init__(
        self, job: Job, model_version: str, count: int | None, devices: list[str], address: str
    ) -> None:
        self._job = job
        self._model_version = model_version
        devices = [_on_ray(device) for device in devices]
        _connect(address)
        if count is None:
            each = "GPU" if set(devices) == {"cuda"} else "CPU"
            count = max(1, int(ray.cluster_resources().get(each, 0)))
        self._devices = [devices[number % len(devices)] for number in range(count)]
        self._again: deque[_Todo] = deque()  # tasks whose worker died
        self._deaths = 0  # of actors in a row that had not opened their engines

    def answers(self, tasks: Iterator[tuple[str, Task]]) -> Iterator[tuple[str, Task, TaskAnswer]]:
        """The answers, in the order in which they finish."""
        busy: dict[Any, _Actor] = {}  # by the call that runs
        idle: list[_Actor] = []
        try:
            for device in self._devices:
                self._start(device, busy)
            while self._has_more(tasks) or any(actor.todo for actor in busy.values()):
                actor, answer = self._finished(busy)
                done, actor.todo = actor.todo, None
                if isinstance(answer, RayError):
                    ray.kill(actor.handle)
                    answer = self._lost(done, answer)
                    if self._has_more(tasks):
                        self._start(actor.device, busy)
                else:
                    idle.append(actor)
                while idle and self._has_more(tasks):
                    self._give(idle.pop(), busy)
                if done is not None and answer is not None:
                    yield done.key, done.task, answer
        finally:
            for actor in (*busy.values(), *idle):
                ray.kill(actor.handle)
            ray.shutdown()

    def _has_more(self, tasks: Iterator[tuple[str, Task]]) -> bool:
        """Whether a task waits. Reads at most one ahead of the actors."""
        if not self._again and (following := next(tasks, None)) is not None:
            self._again.append(_Todo(*following))
        return bool(self._again)

    def _start(self, device: str, busy: dict[Any, _Actor]) -> None:
        gpus = 1 if device == "cuda" else 0
        options = {"num_cpus": 1, "num_gpus": gpus, "scheduling_strategy": "SPREAD"}
        handle = ray.remote(RemoteWorker).options(**options).remote()
        job = self._job.on(device)
        call = handle.open.remote(
            job.settings, job.project, job.config_xml, job.work, __version__, self._model_version
        )
        busy[call] = _Actor(device, handle)

    def _give(self, actor: _Actor, busy: dict[Any, _Actor]) -> None:
        actor.todo = todo = self._again.popleft()
        todo.tries += 1
        busy[actor.handle.answer.remote(todo.key, todo.task)] = actor

    def _finished(self, busy: dict[Any, _Actor]) -> tuple[_Actor, TaskAnswer | RayError | None]:
        """The actor that ended its call, and its answer or what it died of."""
        while not (ended := ray.wait(list(busy), timeout=_PATIENCE_S)[0]):
            if not any(actor.todo for actor in busy.values()):
                logger.warning("%d workers wait for a place in the Ray cluster", len(busy))
        actor = busy.pop(ended[0])
        try:
            found = ray.get(ended[0])
        except RayTaskError as error:
            cause = " ".join(str(error.cause).split())
            raise Refusal("ray", f"a worker of the Ray cluster failed: {cause}") from None
        except RayError as error:
            return actor, error
        if actor.todo is None:
            if found:
                raise Refusal("ray", f"a machine of the Ray cluster cannot work: {found}")
            self._deaths = 0
            return actor, None
        return actor, found

    def _lost(self, todo: _Todo | None, error: RayError) -> TaskAnswer | None:
        """After the death of an actor: its task gets another try, or a failure as its answer."""
        if todo is None:
            self._deaths += 1
            if self._deaths > _TRIES * len(self._devices):
                cause = " ".join(str(error).split())[:300]
                raise Refusal("ray", f"the workers in the Ray cluster end at their start: {cause}")
            return None
        if todo.tries < _TRIES:
            self._again.append(todo)
            return None
        return TaskAnswer(
            [], (f"{_TRIES} workers ended at this task: is there enough memory on their machines?",)
        )


def _on_ray(device: str) -> str:
    """A device as an actor sees it: Ray gives it the GPU that it may use, and no other."""
    if device.startswith("cuda:"):
        raise SettingsError(f"--devices {device}: with --ray, write cuda. Ray chooses the GPUs")
    return "cpu" if device == "auto" else device


def _connect(address: str) -> None:
    host, colon, port = address.rpartition(":")
    try:
        if colon:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), _CONNECT_S).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        cause = " ".join(str(error).split())[:300]
        where = "on this machine" if address == THIS_CLUSTER else f"at {address}"
        raise Refusal(
            "ray", f"no Ray cluster can be used {where}: `ray start --head` starts one ({cause})"
        ) from None
