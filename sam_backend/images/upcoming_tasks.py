"""The tasks that an annotator will probably open next, from Label Studio's list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson

from sam_backend.images.fetching import Fetcher
from sam_backend.images.sources import Source
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.shared.projects import Project, StudioConnection


class UpcomingTasks:
    """Asks Label Studio for the tasks after an opened one."""

    def __init__(self, fetcher: Fetcher, access: LabelStudioAccess, count: int) -> None:
        self._fetcher = fetcher
        self._access = access
        self._count = count

    def listing(self, project: Project, task: Mapping[str, Any]) -> Source | None:
        """The request for the tasks after this one. None if there is nothing to ask for."""
        label_studio, task_id = self._access.connection(project.from_setup), task.get("id")
        if not self._count or not isinstance(task_id, int) or label_studio is None:
            return None
        return listing(label_studio, project.id, task_id, self._count)

    def read(self, listing: Source) -> list[Mapping[str, Any]]:
        """The tasks in Label Studio's answer to a request."""
        return read(self._fetcher.fetch(listing).content)


def listing(label_studio: StudioConnection, project: str, task_id: int, count: int) -> Source:
    """The request for the tasks after this one, in the order of their import.

    Label Studio names a project by its number and the time it was made: `7.1732182000`.
    """
    later = {
        "filter": "filter:tasks:id",
        "operator": "greater",
        "type": "Number",
        "value": task_id,
    }
    query = {"filters": {"conjunction": "and", "items": [later]}, "ordering": ["tasks:id"]}
    parameters = {
        "project": project.partition(".")[0],
        "page": 1,
        "page_size": count,
        "fields": "task_only",
        "query": orjson.dumps(query).decode(),
    }
    url = f"{label_studio.url}/api/tasks?{urlencode(parameters)}"
    return Source(key=url, url=url, label_studio=label_studio)


def read(content: bytes) -> list[Mapping[str, Any]]:
    """The tasks in Label Studio's answer. Empty if the answer is something else."""
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return []
    tasks = answer.get("tasks") if isinstance(answer, dict) else None
    return [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []
