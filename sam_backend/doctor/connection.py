"""Is this back end the model that the editor asks?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sam_backend.doctor.asking import Studio, value_of
from sam_backend.doctor.finding import Finding, bad, good

CHECK = "Connected model"
_CONNECTED, _ERROR = "CO", "ER"

Model = Mapping[str, Any]


def models(studio: Studio, project: int) -> list[Model]:
    """The models of a project. Label Studio asks each of them anew before it answers."""
    found = value_of(studio.ask("/api/ml", project=project), "/api/ml")
    return [model for model in found if isinstance(model, dict)]


def ours(found: Sequence[Model], version: str, address: str) -> Model | None:
    """The model that is this back end: by its address, else by the version that it answered."""
    at_address = [m for m in found if str(m.get("url", "")).rstrip("/") == address]
    of_version = [m for m in found if m.get("model_version") == version]
    return next(iter(at_address + of_version), found[0] if len(found) == 1 else None)


def judge(found: Sequence[Model], version: str, address: str) -> Finding:
    connect = f"Connect {address} under Settings → Model → Connect Model."
    if not found:
        return bad(CHECK, "the project has none.", connect)
    model = ours(found, version, address)
    if model is None:
        names = ", ".join(repr(model.get("title")) for model in found)
        return bad(CHECK, f"none of the project's models ({names}) is this back end.", connect)
    title, url = repr(model.get("title")), model.get("url")
    problem = _why_unreachable(model, title) or _why_not_interactive(found, model, title)
    if problem:
        return problem
    if model.get("model_version") != version:
        says = f"{title} at {url} is another back end (version {model.get('model_version')})."
        return bad(CHECK, says, connect)
    return good(CHECK, f"{title} is connected, with interactive preannotations.")


def _why_unreachable(model: Model, title: str) -> Finding | None:
    """Why the model does not answer Label Studio, if so."""
    state, url, error = model.get("state"), model.get("url"), str(model.get("error_message"))
    if state == _CONNECTED:
        return None
    if state == _ERROR and re.search(r"\b401\b", error):
        return bad(
            CHECK,
            f"Label Studio sends {title} no password, or a wrong one.",
            "Enter BASIC_AUTH_USER and BASIC_AUTH_PASS in the model form.",
        )
    if state == _ERROR:
        return bad(
            CHECK,
            f"{title} at {url} answers Label Studio with an error: {error}.",
            "Check that this back end runs at that address.",
        )
    return bad(
        CHECK,
        f"Label Studio cannot reach {title} at {url}.",
        "Edit the model: enter an address of this machine that works where Label Studio runs.",
    )


def _why_not_interactive(found: Sequence[Model], model: Model, title: str) -> Finding | None:
    """Why the editor does not ask the model, if so."""
    if not model.get("is_interactive"):
        return bad(
            CHECK,
            f"interactive preannotations are off for {title}.",
            "Edit the model and switch on Interactive preannotations.",
        )
    first = next(m for m in found if m.get("is_interactive"))
    if first.get("id") != model.get("id"):
        other = repr(first.get("title"))
        return bad(
            CHECK,
            f"the editor asks {other}, which comes before {title}.",
            f"Delete {other}, or switch off its Interactive preannotations.",
        )
    return None
