"""Requests with a click: the model that answers each, and a record of it for the status page."""

from __future__ import annotations

from operator import attrgetter
from threading import Lock
from typing import Any

from cachetools import LRUCache, cached
from flask import Response

from sam_backend.errors import Refusal
from sam_backend.server.json_http import answer
from sam_backend.server.ml_backend import SamMLBackend
from sam_backend.server.prediction_request import PredictionRequest
from sam_backend.services import Services
from sam_backend.shared.click_log import ClickRecord
from sam_backend.watched_click import WatchedClick

_MODELS_SIZE = 4_000_000  # characters of the label configs of cached models


class ClickRequests:
    """Answers clicks with the model of their project."""

    def __init__(self, services: Services) -> None:
        self._services = services
        # Constructing a model parses its label config; the clicks of a project share one.
        models: LRUCache[Any, SamMLBackend] = LRUCache(_MODELS_SIZE, getsizeof=attrgetter("size"))
        self._model = cached(models, lock=Lock())(self._construct)

    def begin(self) -> WatchedClick:
        """Starts the clock of a request that may be a click."""
        return WatchedClick(keeps_thumbnail=self._services.settings.click_thumbnails)

    def response(self, click: WatchedClick, asked: PredictionRequest) -> Response:
        """The answer to a click."""
        model = self._model(asked.project, asked.config)
        found = answer({"results": model.predict(asked.tasks, asked.context)})
        self._record(click, asked, found)
        return found

    def report_too_large(self, message: object) -> None:
        """Tells people of a request that was refused for its size."""
        self._services.refusals.report("clicks", Refusal("limit", str(message)))

    def _record(self, click: WatchedClick, asked: PredictionRequest, found: Response) -> None:
        """Keeps a record for the status page. A request without prompts is not a click."""
        if not click.has_prompts:
            return
        click.stop()
        names = ", ".join(str(task.get("id")) for task in asked.tasks)
        engine, size = self._services.engine.name, found.content_length or 0
        record = ClickRecord.of(click, asked.project, names, engine, size)
        self._services.click_log.add(record, click.thumbnail)

    def _construct(self, project: str, config: str) -> SamMLBackend:
        return SamMLBackend(project_id=project, label_config=config, services=self._services)
