"""Keeps the content of a `/setup` request, and finds problems of the label config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sam_backend import lines
from sam_backend.clicks import extra_params, label_config
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.errors import Refusal
from sam_backend.label_studio import trust
from sam_backend.services import Services


def remember(services: Services, body: Mapping[str, Any]) -> None:
    """Keeps the content of a `/setup` request, and reports its problems."""
    project = str(body.get("project") or "")
    given = trust.setup_connection(body.get("hostname"), body.get("access_token"))
    doubt = services.access.doubt(given) if given else None
    extra, problem = extra_params.read(body.get("extra_params"), _config(body.get("schema")))
    services.state.remember_setup(project, None if doubt else given, extra)
    if extra.get(extra_params.LEARN) is False:
        services.learning.forget(project)
    found = [doubt, problem, *problems(body.get("schema"))]
    for line in filter(None, found):
        services.refusals.report(f"project {project}", Refusal("config", line))


def problems(schema: object) -> list[str]:
    """The problems of a label config with smart prompts, one line each."""
    try:
        return [lines.one_line(p) for p in label_config.parse(str(schema or "")).problems()]
    except Refusal as refusal:
        return [str(refusal)]


def _config(schema: object) -> LabelConfig | None:
    try:
        return label_config.parse(str(schema or ""))
    except Refusal:
        return None
