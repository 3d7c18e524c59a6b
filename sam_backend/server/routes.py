"""The routes that Label Studio calls: one method for each."""

from __future__ import annotations

from flask import Response, request

from sam_backend.server import project_setup
from sam_backend.server.admission import WEBHOOKS_AT_ONCE, Admission
from sam_backend.server.json_http import Handler, answer, json_object
from sam_backend.server.ml_backend import SamMLBackend
from sam_backend.server.predictions import Predictions
from sam_backend.services import Services
from sam_backend.shared.waiting import PATIENCE_S


class Protocol:
    """The routes for Label Studio 1.23."""

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

    def routes(self) -> dict[str, tuple[list[str], Handler]]:
        return {
            "/health": (["GET"], self.health),
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

    def health(self) -> Response:
        return answer({"status": "UP", "model_class": SamMLBackend.__name__})

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
        self._services.handle_event(body)
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
