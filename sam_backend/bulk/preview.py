"""Pictures of the results of a run, so that people can look before they import them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam_backend.bulk import overlay
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.clicks import label_config
from sam_backend.clicks.output import Result
from sam_backend.errors import Refusal
from sam_backend.exports import file_names
from sam_backend.images.tasks import ProjectTask
from sam_backend.services import Services


def path(folder: Path, id_: object) -> Path:
    """The file for a task's picture. In a file of tasks, an id may be a path."""
    return folder / f"{file_names.safe(str(id_))}.jpg"


def added(
    services: Services,
    project: str,
    config_xml: str,
    task: Mapping[str, Any],
    answer: TaskAnswer,
    path: Path,
) -> TaskAnswer:
    """Writes the preview of an answer. If that fails, the answer reports it."""
    try:
        config = label_config.parse(config_xml)
        in_project = ProjectTask(services.state.project(project), task, config)
        pages: dict[tuple[str, int | None], list[Result]] = {}
        for region in answer.regions:
            page = str(region["to_name"]), region.get("item_index")
            pages.setdefault(page, []).append(region)
        for (to_name, item_index), regions in pages.items():
            picture = in_project.picture(to_name, item_index)
            pixels = services.masks.pictures.pixels(picture)
            name = path if item_index is None else path.with_stem(f"{path.stem}-{item_index}")
            overlay.write(name, overlay.drawn(pixels, regions))
    except Refusal as refusal:
        return TaskAnswer(answer.regions, (*answer.failures, f"no preview: {refusal}"))
    return answer
