"""Sources of tasks and destinations of predictions: a project in Label Studio, or files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

from sam_backend.bulk.journal import Journal
from sam_backend.errors import Refusal
from sam_backend.label_studio.api import StudioApi
from sam_backend.whole_files import replacing

Task = Mapping[str, Any]
Prediction = dict[str, Any]

PAGE = 50  # tasks in one request; each comes with all its masks


class Tasks(Protocol):
    """Tasks with one label config. The key of a task is the same in each run."""

    project: str
    config_xml: str

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, Task]]: ...


class ProjectTasks:
    """The tasks of a project, read page by page during the run."""

    def __init__(self, api: StudioApi, project: int, ids: Collection[int]) -> None:
        self.project = str(project)
        self.config_xml = str(api.get(f"/api/projects/{project}")["label_config"])
        self._api = api
        self._ids = sorted(ids)
        self._total = len(ids) or int(self._page(1, size=1)["total"])

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[tuple[str, Task]]:
        for number in self._ids:
            task = self._api.get(f"/api/tasks/{number}")
            if str(task.get("project")) != self.project:
                raise Refusal("task", f"task {number} does not belong to project {self.project}")
            yield str(number), task
        if not self._ids:
            for page in range(1, -(-self._total // PAGE) + 1):
                for task in self._page(page, PAGE)["tasks"]:
                    yield str(task["id"]), task

    def _page(self, page: int, size: int) -> Any:
        return self._api.get(
            "/api/tasks", project=self.project, fields="all", page=page, page_size=size
        )


class FileTasks:
    """The tasks of a file that Label Studio exported, or that can be imported into it."""

    project = ""

    def __init__(self, path: Path, config_xml: str, ids: Collection[int]) -> None:
        self.config_xml = config_xml
        try:
            read = orjson.loads(path.read_bytes())
        except OSError as error:
            raise Refusal("task", f"{path} cannot be read: {error.strerror}") from None
        except orjson.JSONDecodeError as error:
            raise Refusal("task", f"{path} is not JSON: {error}") from None
        if not isinstance(read, list) or not all(
            isinstance(task, dict) and isinstance(task.get("data"), dict) for task in read
        ):
            raise Refusal(
                "task", f'{path} is not a list of tasks with "data": export the project as JSON'
            )
        if not all(isinstance(task.get("id"), int | str | None) for task in read):
            raise Refusal("task", f"{path} has a task whose id is not a number")
        missing = set(ids) - {task.get("id") for task in read}
        if missing:
            raise Refusal("task", f"{path} has no tasks {', '.join(map(str, sorted(missing)))}")
        self._tasks = {
            str(place): task
            for place, task in enumerate(read, start=1)
            if not ids or task.get("id") in ids
        }

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[tuple[str, Task]]:
        return iter(self._tasks.items())

    def check_that_label_studio_has_them(self) -> None:
        """Refusal if a task has no number, so that no prediction can name it."""
        for place, task in self._tasks.items():
            if not isinstance(task.get("id"), int):
                raise Refusal(
                    "task",
                    f"task number {place} in the file has no id of Label Studio: export the "
                    "project as JSON, or leave out --predictions-only",
                )


class PredictionStore(Protocol):
    """The destination of predictions."""

    def has(self, key: str) -> bool:
        """Whether an earlier run has finished this task."""
        ...

    def put(self, key: str, task: Task, prediction: Prediction | None, *, complete: bool) -> None:
        """Stores a task's prediction completely or not at all."""
        ...

    def finish(self, tasks: Tasks, *, complete: bool) -> None: ...


class ToLabelStudio:
    """Sends predictions to the project at once. Its tasks contain the earlier ones."""

    def __init__(self, api: StudioApi) -> None:
        self._api = api

    def has(self, key: str) -> bool:  # noqa: ARG002 (files know)
        return False

    def put(self, key: str, task: Task, prediction: Prediction | None, *, complete: bool) -> None:  # noqa: ARG002
        if prediction is not None:
            self._api.post("/api/predictions/", {"task": task["id"], **prediction})

    def finish(self, tasks: Tasks, *, complete: bool) -> None: ...


class ToFile:
    """A file to import: tasks with their predictions, or predictions for existing tasks."""

    def __init__(self, path: Path, run: str, *, predictions_only: bool) -> None:
        self._path = path
        self._journal = Journal(path.with_name(path.name + ".part"), run)
        self._predictions_only = predictions_only

    def has(self, key: str) -> bool:
        return self._journal.has(key)

    def put(self, key: str, task: Task, prediction: Prediction | None, *, complete: bool) -> None:  # noqa: ARG002
        self._journal.put(key, prediction, complete=complete)

    def finish(self, tasks: Tasks, *, complete: bool) -> None:
        """Writes the complete file. A repeated run retries the failed tasks."""
        with replacing(self._path, durable=True) as file:
            separator = b"[\n"
            for entry in self._entries(tasks):
                file.write(separator + orjson.dumps(entry))
                separator = b",\n"
            file.write(b"\n]\n" if separator == b",\n" else b"[]\n")
        self._journal.close(remove=complete)

    def _entries(self, tasks: Tasks) -> Iterator[Mapping[str, Any]]:
        for key, task in tasks:
            prediction = self._journal.prediction(key)
            if self._predictions_only:
                if prediction is not None:
                    yield {"task": task["id"], **prediction}
            else:
                # An export without details lists them by id, and an import cannot read ids.
                earlier = [p for p in task.get("predictions") or () if isinstance(p, dict)]
                yield {**task, "predictions": [*earlier, *([prediction] if prediction else [])]}
