"""`/predict`: a click, a task that was opened, or tasks that need predictions."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from operator import attrgetter
from threading import Lock
from typing import Any

from cachetools import LRUCache, cached
from flask import Response, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from sam_backend import watched_click
from sam_backend.bulk.answers import batch_predictions
from sam_backend.bulk.proposals import Proposals
from sam_backend.errors import Refusal
from sam_backend.server import events
from sam_backend.server.admission import BATCHES_AT_ONCE, Admission
from sam_backend.server.json_http import answer, json_object
from sam_backend.server.ml_backend import SamMLBackend
from sam_backend.services import Services
from sam_backend.shared import stale
from sam_backend.shared.click_log import ClickRecord
from sam_backend.watched_click import WatchedClick

# Label Studio waits 100 s for a batch. No task starts after this time, because it may take long.
BATCH_SECONDS = 60.0

# "Retrieve predictions" sends all selected tasks in one request. A click concerns one task.
MAX_TASKS = 100_000
MAX_TASKS_CLICKED = 16

_MODELS_SIZE = 4_000_000  # characters of the label configs of cached models


@dataclass(frozen=True)
class _Asked:
    """The content of a request."""

    project: str
    config: str
    tasks: list[Any]
    context: Any  # of a click: a mapping

    @property
    def is_click(self) -> bool:
        return isinstance(self.context, dict) or events.has_lost_its_context(self.tasks)


class Predictions:
    """Answers Label Studio's requests for predictions."""

    def __init__(self, services: Services, clicks: Admission) -> None:
        self._services = services
        self._clicks = clicks
        report = services.refusals.report
        self._batches = Admission("batches", BATCHES_AT_ONCE, report, waiting_for_each=0)
        # Constructing a model parses its label config; the clicks of a project share one.
        models: LRUCache[Any, SamMLBackend] = LRUCache(_MODELS_SIZE, getsizeof=attrgetter("size"))
        self._model = cached(models, lock=Lock())(self._construct)

    def predict(self) -> Response:
        click = WatchedClick(keeps_thumbnail=self._services.settings.click_thumbnails)
        try:
            with ExitStack() as held:
                held.enter_context(watched_click.watched(click))
                with watched_click.stage("queue"):
                    held.enter_context(self._clicks.admitted())
                held.enter_context(stale.asked_on(request.environ.get("gunicorn.socket")))
                asked = self._asked()
                if asked.is_click:
                    return self._click(click, asked)
            # It gave its place to a click, and works in the gaps between clicks.
            return answer({"results": self._without_clicks(asked)})
        except RequestEntityTooLarge as error:
            self._services.refusals.report("clicks", Refusal("limit", str(error.description)))
            raise

    def _asked(self) -> _Asked:
        body = json_object()
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
        return _Asked(project, config, tasks, context)

    def _click(self, click: WatchedClick, asked: _Asked) -> Response:
        model = self._model(asked.project, asked.config)
        found = answer({"results": model.predict(asked.tasks, asked.context)})
        self._note(click, asked.project, asked.tasks, found)
        return found

    def _note(self, click: WatchedClick, project: str, tasks: list[Any], found: Response) -> None:
        """For the status page; unless the prompts are gone, which is no click."""
        if not click.has_prompts:
            return
        click.stop()
        names = ", ".join(str(task.get("id")) for task in tasks)
        record = ClickRecord.of(
            click, project, names, self._services.engine.name, found.content_length or 0
        )
        self._services.click_log.add(record, click.thumbnail)

    def _without_clicks(self, asked: _Asked) -> list[Any]:
        """One task: an annotator opened it. Several tasks: they need predictions."""
        project, tasks, config = asked.project, asked.tasks, asked.config
        proposals = Proposals() if self._services.settings.proposals else None
        if len(tasks) == 1:
            self._services.opened(self._services.state.project(project), tasks[0], config)
            if proposals is None:
                return [[]]
        if self._clicks.has_queue:
            self._batches.refuse("too busy: clicks wait, and predictions come after them")
        with self._batches.admitted():
            until = time.monotonic() + BATCH_SECONDS
            return batch_predictions(self._services, project, config, tasks, until, proposals)

    def _construct(self, project: str, config: str) -> SamMLBackend:
        return SamMLBackend(project_id=project, label_config=config, services=self._services)
