"""File names: the names of pictures in their storage, and safe names for everything else."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.shown_data import data_part
from sam_backend.formats.results import Page
from sam_backend.images.sources import LOCAL_FILES_PATH

_UPLOADS = "/data/upload/"
_PICTURE = re.compile(r"\.(jpe?g|png|webp|bmp|gif|tiff?|avif)\b|^data:image/", re.IGNORECASE)
_LONGEST = 120  # bytes; the limit of file systems is 255


def safe(text: str) -> str:
    """A text without the characters that some file system rejects in a name."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("._")
    return _shortened(name, _LONGEST) or "_"


class SafeNames:
    """File names of which no two are equal."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._names: dict[str, str] = {}

    def of(self, text: str) -> str:
        """The safe name for a text. The same text always gets the same name."""
        if text not in self._names:
            self._names[text] = self.free(safe(text))
        return self._names[text]

    def free(self, name: str) -> str:
        """The name, with a number if it is taken. Upper and lower case count as equal."""
        number, free = 1, name
        while free.casefold() in self._taken:
            number += 1
            path = PurePosixPath(name)
            free = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        self._taken.add(free.casefold())
        return free


def picture(task: Mapping[str, Any], page: Page, config: LabelConfig | None) -> str:
    """The file name of a page: its path in its storage, or the plain name of an upload."""
    value = _link(task.get("data"), page, config)
    index = "" if page.item_index is None else f"-{page.item_index}"
    return (value and _path(value)) or safe(f"task-{task.get('id')}{index}") + ".png"


def _link(data: object, page: Page, config: LabelConfig | None) -> str | None:
    """The picture's address in the task's data, by the label config, or else by its looks."""
    if not isinstance(data, Mapping):
        return None
    images = [image for image in config.images if image.name == page.to_name] if config else []
    for value in [data_part(image.value, data) for image in images] or data.values():
        links = value[page.item_index or 0 :][:1] if isinstance(value, list) else [value]
        for link in links:
            if isinstance(link, str) and (images or _PICTURE.search(link)):
                return link
    return None


def _path(link: str) -> str:
    try:
        parts = urlsplit(link)
        query = parse_qs(parts.query)
        if "fileuri" in query:  # Label Studio's form of a link to a cloud storage
            return _path(base64.urlsafe_b64decode(query["fileuri"][0]).decode())
    except ValueError:
        return ""  # not a link
    if parts.scheme == "data":
        return ""
    path = query.get("d", [""])[0] if parts.path.endswith(LOCAL_FILES_PATH) else parts.path
    if _UPLOADS in path:
        path = path.rpartition("/")[2]
    path = re.sub(r"[\x00-\x1f]", "_", unquote(path).replace("\\", "/"))
    return "/".join(_shortened(name, 240) for name in path.split("/") if name.strip(". "))


def _shortened(name: str, size: int) -> str:
    return name.encode()[:size].decode(errors="ignore")
