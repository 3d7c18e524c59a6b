"""A task of a project, and its pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sam_backend.clicks.controls import ImageObject
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.shown_data import data_part
from sam_backend.errors import Refusal
from sam_backend.shared.projects import Project


@dataclass(frozen=True)
class Picture:
    """One of a task's images: the tag that shows it, and which page of a list it is."""

    project: Project
    task: Mapping[str, Any]
    image: ImageObject
    item_index: int | None = None

    @property
    def task_id(self) -> str:
        return str(self.task.get("id"))

    @cached_property
    def address(self) -> str:
        """What the task's data says of it: an address, a path or the image itself."""
        value = _data_part(self.task, self.image)
        if self.image.is_list and isinstance(value, list):
            index = self.item_index or 0
            value = value[index] if 0 <= index < len(value) else None
        if not isinstance(value, str) or not value:
            raise Refusal("image", f"the task's data has no image under {self.image.data_key!r}")
        return value

    @property
    def has_address(self) -> bool:
        """Whether the task's data says where it is."""
        try:
            return bool(self.address)
        except Refusal:
            return False

    @cached_property
    def name(self) -> str:
        """A hash of the address: two images of a task, or of two tasks, have different names."""
        return hashlib.sha256(self.address.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True)
class ProjectTask:
    """A task, with its project and the label config that shows it."""

    project: Project
    task: Mapping[str, Any]
    config: LabelConfig

    def picture(self, to_name: str, item_index: int | None = None) -> Picture:
        """The picture that the tag of this name shows."""
        return Picture(self.project, self.task, self.config.image(to_name), item_index)

    def pages(self, to_name: str | None = None) -> list[Picture]:
        """The image with this name, or else the first one, or all of its pages.

        Refusal if the config has no such image.
        """
        if not self.config.images:
            raise Refusal("config", "the label config has no <Image>")
        image = self.config.images[0] if to_name is None else self.config.image(to_name)
        value = _data_part(self.task, image)
        if image.is_list and isinstance(value, list):
            return [Picture(self.project, self.task, image, page) for page in range(len(value))]
        return [Picture(self.project, self.task, image)]


def _data_part(task: Mapping[str, Any], image: ImageObject) -> Any:
    data = task.get("data")
    return data_part(image.value, data) if isinstance(data, Mapping) else None
