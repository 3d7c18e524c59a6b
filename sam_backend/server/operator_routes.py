"""The routes for people and for monitoring: the status page, checks, metrics, the description."""

from __future__ import annotations

import os

from flask import Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from sam_backend.doctor import back_end_reachable
from sam_backend.server import check_page, openapi, status_page
from sam_backend.server.json_http import Handler, answer, json_object
from sam_backend.services import Services


class OperatorRoutes:
    """Shows the state of the back end, and checks its Label Studio."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._checks = check_page.Checks(services)

    def routes(self) -> dict[str, tuple[list[str], Handler]]:
        return {
            "/": (["GET"], self.status),
            "/check": (["POST"], self.check),
            f"{back_end_reachable.PATH}/health": (["GET"], self.no_model),
            "/ready": (["GET"], self.ready),
            "/metrics": (["GET"], self.metrics),
            "/openapi.json": (["GET"], self.openapi),
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
        """The answer to a check, in which Label Studio connects here to show that it can."""
        found = answer({"error": "a check asked for this, to see whether it arrives here"}, 404)
        found.status = f"404 {back_end_reachable.REASON}"
        return found

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
