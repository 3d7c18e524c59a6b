"""Can this back end read one image of each kind of storage, at the size that the browser shows?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sam_backend.clicks.controls import ImageObject
from sam_backend.doctor.finding import Finding, bad, good, unknown
from sam_backend.errors import Refusal
from sam_backend.images.tasks import Picture
from sam_backend.services import Services

CHECK = "Images"
MOST_KINDS = 6

Task = Mapping[str, Any]


def kind(value: str) -> str:
    """Where an image is kept, for people."""
    path = urlsplit(value).path if not value.startswith("data:") else ""
    if value.startswith("data:"):
        return "inline data"
    if path.startswith("/data/upload/"):
        return "uploads"
    if path.startswith("/data/local-files/"):
        return "a local folder"
    scheme = value.partition("://")[0]
    if scheme in ("http", "https"):
        return "the web"
    return f"{scheme}:// storage" if "://" in value else "Label Studio"


def samples(pictures: Iterable[Picture]) -> dict[str, Picture]:
    """One picture for each kind of storage."""
    found: dict[str, Picture] = {}
    for picture in pictures:
        with contextlib.suppress(Refusal):  # the task's data has none
            if len(found) < MOST_KINDS:
                found.setdefault(kind(picture.address), picture)
    return found


def no_tasks(image: ImageObject) -> Finding:
    return unknown(
        CHECK,
        f"no task has an image under {image.data_key!r}.",
        "Import images, or correct the value of <Image> in the label config.",
    )


@dataclass(frozen=True)
class Readable:
    """A task's picture that can be read, and its size in pixels."""

    picture: Picture
    width: int
    height: int


def check(
    services: Services, picture: Picture, name: str
) -> tuple[Finding, tuple[int, int] | None]:
    """Reads the picture of a task. Returns its width and height if that is possible."""
    try:
        height, width = services.masks.pictures.pixels(picture).shape[:2]
    except Refusal as refusal:
        return bad(CHECK, f"task {picture.task_id}, from {name}: {refusal}."), None
    return judge_size(picture.task, picture.image.name, name, width, height), (width, height)


def judge_size(task: Task, to_name: str, name: str, width: int, height: int) -> Finding:
    """The size here beside the size in the browser, which saved regions carry."""
    for seen_width, seen_height in _sizes(task, to_name):
        if (seen_width, seen_height) != (width, height):
            return bad(
                CHECK,
                f"task {task.get('id')}, from {name}: the image has {width}x{height} pixels here, "
                f"and had {seen_width}x{seen_height} in the browser, so a mask would be shifted.",
                "Give the browser and the back end the same file, and do not change it later.",
            )
    return good(CHECK, f"task {task.get('id')}, from {name}: {width}x{height} pixels.")


def _sizes(task: Task, to_name: str) -> list[tuple[object, object]]:
    annotations = task.get("annotations")
    regions = [
        region
        for annotation in (annotations if isinstance(annotations, list) else [])
        if isinstance(annotation, dict)
        for region in annotation.get("result") or ()
        if isinstance(region, dict) and region.get("to_name") == to_name
    ]
    return [
        (region["original_width"], region["original_height"])
        for region in regions
        if region.get("original_width") and region.get("original_height")
    ]
