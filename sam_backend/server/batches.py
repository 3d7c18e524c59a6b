"""Requests for predictions without a click: a task that was opened, or tasks to predict."""

from __future__ import annotations

import time
from typing import Any

from sam_backend.bulk.answers import batch_predictions
from sam_backend.bulk.proposals import Proposals
from sam_backend.server.admission import BATCHES_AT_ONCE, Admission
from sam_backend.server.prediction_request import PredictionRequest
from sam_backend.services import Services

# Label Studio waits 100 s for a batch. No task starts after this time, because it may take long.
BATCH_SECONDS = 60.0


class Batches:
    """Answers batches in the gaps between clicks."""

    def __init__(self, services: Services, clicks: Admission) -> None:
        self._services = services
        self._clicks = clicks
        report = services.refusals.report
        self._batches = Admission("batches", BATCHES_AT_ONCE, report, waiting_for_each=0)

    def results(self, asked: PredictionRequest) -> list[Any]:
        """One task: an annotator opened it. Several tasks: they need predictions."""
        project, tasks, config = asked.project, asked.tasks, asked.config
        proposals = Proposals() if self._services.settings.proposals else None
        if len(tasks) == 1:
            self._services.prepare(self._services.state.project(project), tasks[0], config)
            if proposals is None:
                return [[]]
        if self._clicks.has_queue:
            self._batches.refuse("too busy: clicks wait, and predictions come after them")
        with self._batches.admitted():
            until = time.monotonic() + BATCH_SECONDS
            return batch_predictions(self._services, project, config, tasks, until, proposals)
