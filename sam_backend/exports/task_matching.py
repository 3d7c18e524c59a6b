"""Finds the task data for a picture's file name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.shown_data import data_that_shows
from sam_backend.errors import Refusal
from sam_backend.exports import file_names, task_file
from sam_backend.formats.results import Page

# Label Studio puts this before the names of uploads.
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")


def below(prefix: str, config: LabelConfig) -> Callable[[str], Mapping[str, Any]]:
    """The data of new tasks, whose pictures are below an address or path."""
    value = config.images[0].value
    try:
        data_that_shows(value, prefix)
    except ValueError as error:
        raise Refusal("config", f"{error}: give --tasks instead of --images") from None
    return lambda file_name: data_that_shows(value, prefix + quote(file_name))


def of_tasks(path: Path, config: LabelConfig) -> Callable[[str], Mapping[str, Any]]:
    """The data of existing tasks, by the picture's complete path, or else by its name."""
    page = Page(config.images[0].name, None, 1, 1)
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for task in task_file.read(path, lambda _line: None, needs_annotations=False):
        whole = file_names.picture(task, page, config)
        last = whole.rpartition("/")[2]
        for name in {whole, last, _UPLOAD.sub("", last)}:
            by_name.setdefault(name, []).append(task["data"])

    def data(file_name: str) -> Mapping[str, Any]:
        found = by_name.get(file_name) or by_name.get(file_name.rpartition("/")[2]) or []
        if len(found) != 1:
            raise ValueError("several tasks show it" if found else "no task shows it")
        return found[0]

    return data
