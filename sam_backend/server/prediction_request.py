"""What a request for predictions asks: the tasks, their project, and the context of a click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from sam_backend.server import events

# "Retrieve predictions" sends all selected tasks in one request. A click concerns one task.
MAX_TASKS = 100_000
MAX_TASKS_CLICKED = 16


@dataclass(frozen=True)
class PredictionRequest:
    """The content of a request."""

    project: str
    config: str
    tasks: list[Any]
    context: Any  # of a click: a mapping

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> PredictionRequest:
        """A request from its JSON. BadRequest or RequestEntityTooLarge if it has no valid tasks."""
        tasks, params = body.get("tasks"), body.get("params")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise BadRequest("'tasks' is not a list of tasks")
        if not all(isinstance(task.get("id"), int | str | None) for task in tasks):
            raise BadRequest("a task's 'id' is not a number")
        context = params.get("context") if isinstance(params, dict) else None
        most = MAX_TASKS_CLICKED if isinstance(context, dict) else MAX_TASKS
        if len(tasks) > most:
            raise RequestEntityTooLarge(f"{len(tasks)} tasks in one request, {most} are the most")
        project, config = str(body.get("project") or ""), str(body.get("label_config") or "")
        return cls(project, config, tasks, context)

    @property
    def is_click(self) -> bool:
        return isinstance(self.context, dict) or events.has_lost_its_context(self.tasks)
