"""`/predict`: a click, a task that was opened, or tasks that need predictions."""

from __future__ import annotations

from contextlib import ExitStack

from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from sam_backend import watched_click
from sam_backend.server.admission import Admission
from sam_backend.server.batches import Batches
from sam_backend.server.click_requests import ClickRequests
from sam_backend.server.json_http import answer, json_object
from sam_backend.server.prediction_request import PredictionRequest
from sam_backend.services import Services
from sam_backend.shared import stale


class Predictions:
    """Answers Label Studio's requests for predictions."""

    def __init__(self, services: Services, admission: Admission) -> None:
        self._admission = admission
        self._clicks = ClickRequests(services)
        self._batches = Batches(services, admission)

    def predict(self) -> Response:
        click = self._clicks.begin()
        try:
            with ExitStack() as held:
                held.enter_context(watched_click.watched(click))
                with watched_click.stage("queue"):
                    held.enter_context(self._admission.admitted())
                held.enter_context(stale.asked_on(request.environ.get("gunicorn.socket")))
                asked = PredictionRequest.read(json_object())
                if asked.is_click:
                    return self._clicks.response(click, asked)
            # It gave its place to a click, and works in the gaps between clicks.
            return answer({"results": self._batches.results(asked)})
        except RequestEntityTooLarge as error:
            self._clicks.report_too_large(error.description)
            raise
