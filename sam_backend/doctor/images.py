"""Can this back end read one image of each kind of storage, at the size that the browser shows?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sam_backend.clicks.controls import ImageObject
from sam_backend.doctor.finding import Finding, bad, good, unknown
from sam_backend.errors import Refusal
from sam_backend.formats.pictures import Pixels
from sam_backend.images.sources import Picture
from sam_backend.services import Services
from sam_backend.shared.state import Project

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


def samples(tasks: Sequence[Task], image: ImageObject) -> dict[str, Task]:
    """One task for each kind of storage."""
    found: dict[str, Task] = {}
    for task in tasks:
        value = _value(task, image)
        if value is not None and len(found) < MOST_KINDS:
            found.setdefault(kind(value), task)
    return found


def _value(task: Task, image: ImageObject) -> str | None:
    data = task.get("data")
    value = data.get(image.data_key) if isinstance(data, Mapping) else None
    if image.is_list and isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) and value else None


def no_tasks(image: ImageObject) -> Finding:
    return unknown(
        CHECK,
        f"no task has an image under {image.data_key!r}.",
        "Import images, or correct the value of <Image> in the label config.",
    )


def check(
    services: Services, project: Project, task: Task, image: ImageObject, name: str
) -> tuple[Finding, Pixels | None]:
    """Reads the picture of a task."""
    item = 0 if image.is_list else None
    try:
        pixels = services.pictures.pixels(Picture(project, task, image, item))
    except Refusal as refusal:
        return bad(CHECK, f"task {task.get('id')}, from {name}: {refusal}."), None
    height, width = pixels.shape[:2]
    return judge_size(task, image.name, name, width, height), pixels


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
