"""The prediction for a click in a task. Without a mask it is empty, and the log says why."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sam_backend import metrics, watched_click
from sam_backend.errors import Busy, Refusal
from sam_backend.server import click_answer, events
from sam_backend.services import Services
from sam_backend.shared import stale
from sam_backend.shared.stale import Stale

logger = logging.getLogger("sam_backend")

Task = Mapping[str, Any]


def prediction(
    services: Services, project: str, config_xml: str, task: Task, context: Mapping[str, Any]
) -> dict[str, Any]:
    """Label Studio's prediction for a context. Only Busy is raised: it has an HTTP status."""
    regions: list[dict[str, Any]] = []
    outcome, refusal = "", None
    try:
        stale.check()  # it may have waited for its turn
        regions = _results(services, project, config_xml, task, context)
    except Stale:
        outcome = "overtaken"
        metrics.STALE.inc()
    except Busy:
        raise
    except Refusal as refused:
        outcome, refusal = "refused", refused
    except RecursionError:
        outcome, refusal = "refused", Refusal("limit", "the request is nested too deeply")
    except Exception as error:  # a fault of ours must not show a traceback or harm the next
        logger.exception("task %s", task.get("id"))
        fault = f"the back end failed (its log says where): {error!r}"
        outcome, refusal = "failed", Refusal("fault", fault)
    if outcome:
        watched_click.current().outcome = outcome
    if refusal is not None:
        services.refusals.report(f"task {task.get('id')}", refusal)
    scores = [region["score"] for region in regions if "score" in region]
    return {
        "result": regions,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "model_version": services.model_version,
    }


def _results(
    services: Services, project: str, config_xml: str, task: Task, context: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if not events.is_click(context):
        return events.results(services, project, config_xml, task, context.get("event"))
    results = context.get("result")
    if not isinstance(results, list):
        raise Refusal(
            "prompt",
            "the click came without its prompts (its context is empty): reload the page, and "
            "update Label Studio if that does not help",
        )
    return click_answer.answer(services, project, config_xml, task, results)
