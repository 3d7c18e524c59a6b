"""Learns from the masks that annotators keep, unless it is switched off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sam_backend.clicks.extra_params import LEARN
from sam_backend.clicks.kept_masks import label_name, of_annotation
from sam_backend.clicks.learnt_shapes import Learnt
from sam_backend.formats.results import mappings, name
from sam_backend.shared.kept_shapes import KeptShapes, Knowledge
from sam_backend.shared.projects import Project
from sam_backend.shared.shapes_of_machines import MachinesShapes
from sam_backend.shared.state import State

_SAVED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


class Learning:
    """The shapes of the kept masks of each project and label.

    `is_on` is the operator's setting. A project's extra params switch it off for the project.
    """

    def __init__(self, kept: KeptShapes | MachinesShapes, state: State, *, is_on: bool) -> None:
        self._kept = kept
        self._state = state
        self.is_on = is_on

    def learnt(self, project: Project, labels: Iterable[str]) -> Learnt | None:
        """The shape of the masks with these labels, if it is known."""
        if not self._is_on_for(project):
            return None
        return self._kept.learnt(project.id, label_name(labels))

    def handle_event(self, event: Mapping[str, Any]) -> None:
        """Learns from a webhook of Label Studio about an annotation or a project."""
        action, owner = event.get("action"), event.get("project")
        if action == "PROJECT_DELETED":
            self._kept.forget_projects_of(
                name(owner.get("id")) if isinstance(owner, Mapping) else ""
            )
            return
        project = _project_id(owner)
        if not project:
            return
        if action == "ANNOTATIONS_DELETED":
            gone = [name(each.get("id")) for each in mappings(event.get("annotations"))]
            self._kept.forget_annotations(project, gone)
        annotation = event.get("annotation")
        if action in _SAVED and isinstance(annotation, Mapping):
            if self._is_on_for(self._state.project(project)):
                self._kept.put(project, name(annotation.get("id")), of_annotation(annotation))
            else:
                self._kept.forget_project(project)

    def forget(self, project: str) -> None:
        """Deletes the shapes of a project."""
        self._kept.forget_project(project)

    def known(self) -> list[Knowledge]:
        """What is kept, for the status page."""
        return self._kept.known() or [] if self.is_on else []

    def _is_on_for(self, project: Project) -> bool:
        return self.is_on and project.extra_params.get(LEARN) is not False


def _project_id(project: object) -> str:
    """A project as Label Studio names it in clicks: its number, and the second of its creation."""
    if isinstance(project, Mapping):
        created = name(project.get("created_at")).replace("Z", "+00:00")
        with contextlib.suppress(ValueError, OverflowError):
            return f"{name(project.get('id'))}.{int(datetime.fromisoformat(created).timestamp())}"
    return ""
