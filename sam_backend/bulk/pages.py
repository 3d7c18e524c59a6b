"""The pictures of a task that are worked on without a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sam_backend.clicks.label_config import LabelConfig
from sam_backend.errors import Refusal
from sam_backend.images.tasks import Picture
from sam_backend.shared.projects import Project


def pictures(project: Project, task: Mapping[str, Any], config: LabelConfig) -> list[Picture]:
    """A task's first image, or all of its pages. Refusal if the config has no image."""
    if not config.images:
        raise Refusal("config", "the label config has no <Image>")
    image = config.images[0]
    value = (task.get("data") or {}).get(image.data_key)
    if image.is_list and isinstance(value, list):
        return [Picture(project, task, image, page) for page in range(len(value))]
    return [Picture(project, task, image, None)]
