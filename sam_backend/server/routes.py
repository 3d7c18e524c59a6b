"""The routes that Label Studio calls: one method for each."""

from __future__ import annotations

import os
from collections.abc import Callable

from flask import Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from sam_backend.doctor import way_back
from sam_backend.server import check_page, openapi, project_setup, status_page
from sam_backend.server.admission import WEBHOOKS_AT_ONCE, Admission
from sam_backend.server.json_http import answer, json_object
from sam_backend.server.ml_backend import SamMLBackend
from sam_backend.server.predictions import Predictions
from sam_backend.services import Services
from sam_backend.shared.waiting import PATIENCE_S

Handler = Callable[[], Response]


class Protocol:
    """The routes for Label Studio 1.23, and the routes for people: status, metrics, openapi."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.clicks = Admission(
            "clicks",
            services.settings.threads,
            services.refusals.report,
            patience_s=PATIENCE_S,
        )
        self._predictions = Predictions(services, self.clicks)
        self._webhooks = Admission("webhooks", WEBHOOKS_AT_ONCE, services.refusals.report)
        self._checks = check_page.Checks(services)

    def routes(self) -> dict[str, tuple[list[str], Handler]]:
        return {
            "/": (["GET"], self.status),
            "/check": (["POST"], self.check),
            f"{way_back.PATH}/health": (["GET"], self.no_model),
            "/health": (["GET"], self.health),
            "/ready": (["GET"], self.ready),
            "/metrics": (["GET"], self.metrics),
            "/openapi.json": (["GET"], self.openapi),
            "/setup": (["POST"], self.setup),
            "/predict": (["POST"], self._predictions.predict),
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

    def ready(self) -> Response:
        """Whether a load balancer should send clicks here. A worker that stops says no itself."""
        state, _, _ = self._services.engine.state.partition(":")  # a cause may name files
        return answer({"engine": state}, 200 if state == "ready" else 503)

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
