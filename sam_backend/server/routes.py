"""The routes that Label Studio calls: one method for each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from operator import attrgetter
from threading import Lock
from typing import Any

from cachetools import LRUCache, cached
from flask import Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from sam_backend import watched_click
from sam_backend.bulk.answers import Proposals, batch_predictions
from sam_backend.doctor import way_back
from sam_backend.errors import Refusal
from sam_backend.server import check_page, events, openapi, project_setup, status_page
from sam_backend.server.admission import WEBHOOKS_AT_ONCE, Admission
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

Handler = Callable[[], Response]


class Protocol:
    """The routes for Label Studio 1.23, and the routes for people: status, metrics, openapi."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.clicks = Admission("clicks", services.settings.threads, services.refusals.report)
        self._webhooks = Admission("webhooks", WEBHOOKS_AT_ONCE, services.refusals.report)
        self._checks = check_page.Checks(services)
        # Constructing a model parses its label config; the clicks of a project share one.
        models: LRUCache[Any, SamMLBackend] = LRUCache(_MODELS_SIZE, getsizeof=attrgetter("size"))
        self._model = cached(models, lock=Lock())(self._construct)

    def routes(self) -> dict[str, tuple[list[str], Handler]]:
        return {
            "/": (["GET"], self.status),
            "/check": (["POST"], self.check),
            f"{way_back.PATH}/health": (["GET"], self.no_model),
            "/health": (["GET"], self.health),
            "/metrics": (["GET"], self.metrics),
            "/openapi.json": (["GET"], self.openapi),
            "/setup": (["POST"], self.setup),
            "/predict": (["POST"], self.predict),
            "/webhook": (["POST"], self.webhook),
            "/validate": (["POST"], self.validate),
            "/versions": (["GET", "POST"], self.versions),
            "/job_status": (["POST"], self.job_status),
            "/train": (["POST"], self.nothing_to_do),
            "/delete": (["POST"], self.delete),
            "/duplicate_model": (["POST"], self.nothing_to_do),
        }

    def status(self) -> Response:
        offered = ["application/json", "text/html"]
        if request.accept_mimetypes.best_match(offered) == "text/html":
            return Response(status_page.page(self._services), mimetype="text/html")
        return answer(status_page.report(self._services))

    def check(self) -> Response:
        """Examines Label Studio: asked by the form of the status page, or with JSON."""
        is_form = request.mimetype != "application/json"
        asked = request.form if is_form else json_object()
        findings = self._checks.findings(asked, request.host_url)
        if is_form:
            return Response(status_page.check_page(findings), mimetype="text/html")
        return answer(check_page.as_json(findings))

    def no_model(self) -> Response:
        """A check has Label Studio ask here, to see whether it arrives."""
        found = answer({"error": "a check asked for this, to see whether it arrives here"}, 404)
        found.status = f"404 {way_back.REASON}"
        return found

    def health(self) -> Response:
        return answer({"status": "UP", "model_class": SamMLBackend.__name__})

    def metrics(self) -> Response:
        registry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # several workers: add them up
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    def openapi(self) -> Response:
        return answer(openapi.description(guarded=self._services.settings.basic_auth is not None))

    def setup(self) -> Response:
        project_setup.remember(self._services, json_object())
        return answer({"model_version": self._services.model_version})

    def predict(self) -> Response:
        click = WatchedClick(keeps_thumbnail=self._services.settings.click_thumbnails)
        try:
            with ExitStack() as held:
                held.enter_context(watched_click.watched(click))
                with watched_click.stage("queue"):
                    held.enter_context(self.clicks.admitted())
                held.enter_context(stale.asked_on(request.environ.get("gunicorn.socket")))
                return self._predict(click)
        except RequestEntityTooLarge as error:
            self._services.refusals.report("clicks", Refusal("limit", str(error.description)))
            raise

    def _predict(self, click: WatchedClick) -> Response:
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
        if isinstance(context, dict) or events.has_lost_its_context(tasks):
            found = answer({"results": self._model(project, config).predict(tasks, context)})
            self._note(click, project, tasks, found)
            return found
        return answer({"results": self._without_clicks(project, tasks, config)})

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

    def _without_clicks(self, project: str, tasks: list[Any], config: str) -> list[Any]:
        """One task: an annotator opened it. Several tasks: they need predictions."""
        proposals = Proposals() if self._services.settings.proposals else None
        if len(tasks) == 1:
            self._services.opened(self._services.state.project(project), tasks[0], config)
            if proposals is None:
                return [[]]
        until = time.monotonic() + BATCH_SECONDS
        return batch_predictions(self._services, project, config, tasks, until, proposals)

    def webhook(self) -> Response:
        """A webhook. Any client can send one, because Label Studio cannot sign it.

        At most, it makes the back end forget that a keypoint and a rectangle belong together, and
        changes which of the model's masks is the first answer to a click. The editor sends the
        visible prompts again with each click.
        """
        with self._webhooks.admitted():
            body = json_object()
        self._services.heard(body)
        return answer({"status": "ok"})

    def validate(self) -> Response:
        problems = project_setup.problems(json_object().get("config"))
        return answer({"status": "failed" if problems else "ok", "problems": problems})

    def versions(self) -> Response:
        return answer({"versions": [self._services.model_version]})

    def job_status(self) -> Response:
        return answer({"job_status": "finished", "error": None})

    def delete(self) -> Response:
        """Label Studio removed the model from a project. It may send no body."""
        if request.content_length:
            self._services.learning.forget(str(json_object().get("project") or ""))
        return answer({"status": "ok"})

    def nothing_to_do(self) -> Response:
        """Answers calls about training and model versions, which this back end does not have."""
        return answer({"status": "ok"})

    def _construct(self, project: str, config: str) -> SamMLBackend:
        return SamMLBackend(project_id=project, label_config=config, services=self._services)
