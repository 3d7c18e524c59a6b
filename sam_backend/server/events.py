"""What newer clients ask besides masks, in a click's `context.event`.

The protocol is the one of HumanSignal's segment_anything_video_interactive. Label Studio 1.23.2
sends no events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam_backend.services import Services

PREDICT = "predict"
CAPABILITIES = "capabilities"

Task = Mapping[str, Any]

_TARGETS = {
    "BrushLabels": "mask",
    "BitmaskLabels": "mask",
    "PolygonLabels": "polygon",
    "VectorLabels": "polygon",
    "RectangleLabels": "bbox",
}


def is_click(context: Mapping[str, Any]) -> bool:
    """Whether a context asks for a mask."""
    return context.get("event", PREDICT) in (PREDICT, None)


def has_lost_its_context(tasks: Sequence[Task]) -> bool:
    """Whether a request without a context is a click after all.

    Label Studio 1.23.2 sends the drafts of a task with a click. It leaves them out of the task when
    the task is opened, and when predictions are to be made.
    """
    return len(tasks) == 1 and "drafts" in tasks[0]


def results(
    services: Services, project: str, config_xml: str, task: Task, event: object
) -> list[dict[str, Any]]:
    """The results of an event in a task. An unknown event has no results."""
    if event == CAPABILITIES:
        return [_result(event, _capabilities(services))]
    if event == "prewarm":
        services.prepare(services.state.project(project), task, config_xml)
        return [_result("prewarm_ack", {"status": "ok", "cached": [], "pending": [0]})]
    if event == "release":  # an embedding stays for other annotators until room is needed
        return [_result("release_ack", {"status": "released"})]
    return []


def _result(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": kind, "type": kind, "origin": "manual", "value": value}


def _capabilities(services: Services) -> dict[str, Any]:
    return {
        "prompts": ["point", "box"],
        "targets": [{"tag": tag, "output": output} for tag, output in _TARGETS.items()],
        "model_info": {"name": services.settings.sam_choice, "version": services.model_version},
    }
