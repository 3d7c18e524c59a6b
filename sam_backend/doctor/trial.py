"""Does a click bring a mask? One is made in the middle of an image, as the editor makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sam_backend.clicks.segmenter import ObjectPrompt, segment
from sam_backend.doctor.asking import Answer, Reply, Silence, Studio
from sam_backend.doctor.finding import Finding, bad, good, unknown
from sam_backend.errors import Refusal, SettingsError
from sam_backend.images.tasks import Picture
from sam_backend.services import Services
from sam_backend.shared.refusal_records import RefusalRecord

CHECK = "A click"
_NO_OBJECT = "finds no object"

Result = dict[str, Any]


def check_here(services: Services, picture: Picture) -> Finding:
    """Without Label Studio: whether the model makes a mask in the middle of a picture."""
    try:
        embedding = services.masks.pictures.embedding(picture)
        middle = np.array([[embedding.width / 2, embedding.height / 2]], np.float32)
        prompt = ObjectPrompt(middle, np.ones(1, np.float32), None)
        found = segment(services.engine.ready(), embedding, prompt)
    except (Refusal, SettingsError, RuntimeError, OSError) as error:
        return bad(CHECK, f"the model makes no mask: {error}.")
    share = 100 * float(found.mask.mean())
    return good(CHECK, f"the model makes a mask here, of {share:.0f} % of the picture.")


def check(studio: Studio, model_id: int, task_id: str, results: Sequence[Result]) -> Reply:
    """What the editor would receive. The prompt is forgotten again."""
    path = f"/api/ml/{model_id}/interactive-annotating"
    reply = studio.tell("POST", path, {"task": int(task_id), "context": {"result": list(results)}})
    studio.tell("POST", path, {"task": int(task_id), "context": {"result": []}})
    return reply


def judge(reply: Reply, task_id: str, refusals: Sequence[RefusalRecord]) -> Finding:
    """`refusals` are the ones since the click, newest first."""
    if isinstance(reply, Silence):
        return unknown(CHECK, f"Label Studio did not answer ({reply.why}).")
    problem = _problem(reply)
    if problem:
        return bad(CHECK, f"Label Studio got no answer from the model: {problem}.")
    if _regions(reply):
        return good(CHECK, f"in the middle of task {task_id}, it brought a mask.")
    own = [refusal for refusal in refusals if refusal.where == f"task {task_id}"]
    if own and _NO_OBJECT not in own[0].message:
        return bad(CHECK, f"{own[0].message}.")
    return good(CHECK, f"in the middle of task {task_id}, it was answered: no object is there.")


def _problem(reply: Answer) -> str:
    if reply.status != 200:
        return f"{reply.status} {reply.detail}"
    errors = reply.value.get("errors") if isinstance(reply.value, Mapping) else None
    return "; ".join(map(str, errors)) if isinstance(errors, list) else ""


def _regions(reply: Answer) -> list[Any]:
    data = reply.value.get("data") if isinstance(reply.value, Mapping) else None
    result = data.get("result") if isinstance(data, Mapping) else None
    return result if isinstance(result, list) else []
