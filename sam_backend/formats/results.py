"""Label Studio's results: the JSON of regions in clicks, drafts, annotations and predictions.

Readers of one kind of region build on these functions, which check every value in the JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

Result = Mapping[str, Any]
Saved = Mapping[str, Any]  # a draft, an annotation or a prediction

# Limits for drafts and annotations of a task, and for results in one. Each click reads all of them.
MOST_DRAFTS = 1000
MOST_RESULTS = 20_000

KEYPOINT_TYPES = ("keypointlabels", "keypoint")
RECTANGLE_TYPES = ("rectanglelabels", "rectangle")
PROMPT_TYPES = KEYPOINT_TYPES + RECTANGLE_TYPES
MASK_TYPES = (
    *("brushlabels", "brush", "bitmasklabels", "bitmask"),
    *("polygonlabels", "polygon", "vectorlabels", "vector"),
)
MASK_KEYS = ("rle", "imageDataURL", "points", "vertices")  # that hold a mask's geometry
SHARED_LABELS = "labels"  # the type of a shared `<Labels>`

_PART = re.compile(r"\.\d+$")


class Page(NamedTuple):
    """A picture of a task: its `<Image>`, its index among several, and its size."""

    to_name: str
    item_index: int | None
    height: int
    width: int


def mappings(values: object) -> list[Mapping[str, Any]]:
    """The JSON objects in a list. All other values are left out."""
    return [v for v in values if isinstance(v, Mapping)] if isinstance(values, list) else []


def newest(drafts: object) -> Saved | None:
    """The draft that was saved last. Label Studio sends only drafts of the annotator who clicks."""
    some = drafts[:MOST_DRAFTS] if isinstance(drafts, list) else None
    return max(mappings(some), key=lambda draft: name(draft.get("updated_at")), default=None)


def of_saved(saved: Saved) -> list[Result]:
    """The results of a draft or annotation that a click reads."""
    found = saved.get("result")
    return mappings(found[:MOST_RESULTS]) if isinstance(found, list) else []


def name(value: object) -> str:
    """An id, a label or a time. Any other value, such as a list of megabytes, has no name."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def number(value: object) -> float:
    """A finite number, else 0."""
    is_number = isinstance(value, (int, float)) and abs(value) < 1e9
    return float(value) if is_number else 0.0  # type: ignore[arg-type]


def value(result: Result) -> Mapping[str, Any]:
    """The geometry and labels of a result."""
    found = result.get("value")
    return found if isinstance(found, Mapping) else {}


def page(result: Result) -> Page:
    """The picture that a result lies on."""
    index = result.get("item_index")
    return Page(
        name(result.get("to_name")),
        index if isinstance(index, int) else None,
        int(number(result.get("original_height"))),
        int(number(result.get("original_width"))),
    )


def labels(result: Result) -> list[Any] | None:
    """The label words in a result, unchecked: under the name of its type, else under `labels`."""
    found = value(result)
    for key in (result.get("type"), SHARED_LABELS):
        words = found.get(key) if isinstance(key, str) else None
        if isinstance(words, list):
            return words
    return None


def has_place(result: Result) -> bool:
    """Whether the geometry is a keypoint or rectangle.

    An accepted mask is also saved with its prompt's type, but with its own geometry.
    """
    return "x" in value(result) and not has_mask(result)


def has_mask(result: Result) -> bool:
    """Whether the geometry is that of a mask, whatever the type says."""
    found = value(result)
    return any(key in found for key in MASK_KEYS)


def is_prompt(result: Result) -> bool:
    return result.get("type") in PROMPT_TYPES and has_place(result)


def is_mask(result: Result) -> bool:
    """Whether a control for masks holds this region."""
    return result.get("type") in MASK_TYPES and isinstance(result.get("value"), Mapping)


def object_id(region_id: str) -> str:
    """The id of the object that a region is a part of. Its parts are named a, a.2, a.3, …"""
    return _PART.sub("", region_id)


def part_id(object_id: str, index: int) -> str:
    """The id of an object's part, from index 0 on."""
    return object_id if index == 0 else f"{object_id}.{index + 1}"
