"""The masks of a task, each once, although Label Studio saves a mask for each control. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam_backend.formats import mask_reader, results
from sam_backend.formats.mask import Mask
from sam_backend.formats.results import MASK_TYPES, SHARED_LABELS, Page, Result, mappings, object_id

UNLABELED = "unlabeled"


@dataclass(frozen=True)
class SavedRegion:
    """An object with a mask: one region, or the regions of its parts."""

    id: str
    page: Page
    labels: tuple[str, ...]  # at least one
    rotation: float  # of the picture in the editor, degrees
    shapes: tuple[Mapping[str, Any], ...]  # the value of each part

    def mask(self) -> Mask:
        """The mask of all parts (H, W). ValueError if one of them cannot be read."""
        page = self.page
        found = mask_reader.read(self.shapes[0], page.height, page.width)
        for shape in self.shapes[1:]:
            found = found | mask_reader.read(shape, page.height, page.width)
        return found


def finished(task: Mapping[str, Any], *, latest: bool) -> list[Mapping[str, Any]]:
    """A task's annotations without skipped ones, or only the one saved last."""
    done = [a for a in mappings(task.get("annotations")) if not a.get("was_cancelled")]
    if latest:
        done = sorted(done, key=lambda a: str(a.get("updated_at") or a.get("created_at")))[-1:]
    return done


def pages(found: Sequence[Mapping[str, Any]]) -> dict[Page, dict[str, list[SavedRegion]]]:
    """The masks by picture, then by the annotation's id, in the order in which they were saved.

    A picture without masks is included if another region contains its size.
    """
    by_page: dict[Page, dict[str, list[SavedRegion]]] = {}
    for annotation in found:
        name = str(annotation.get("id"))
        for result in mappings(annotation.get("result")):
            page = results.page(result)
            if page.height and page.width:
                by_page.setdefault(page, {}).setdefault(name, [])
        for region in _regions(annotation):
            by_page.setdefault(region.page, {}).setdefault(name, []).append(region)
    return by_page


def _regions(annotation: Mapping[str, Any]) -> list[SavedRegion]:
    """The regions of one annotation. Parts of an object with the same labels are one region."""
    by_id: dict[str, list[Result]] = {}
    for number, result in enumerate(mappings(annotation.get("result"))):
        by_id.setdefault(str(result.get("id") or f"result-{number}"), []).append(result)
    objects: dict[tuple[str, Page, tuple[str, ...]], list[Result]] = {}
    for region_id, members in by_id.items():
        shape = _shape(members)
        if shape is not None:
            key = (object_id(region_id), results.page(shape), _labels(shape, members))
            objects.setdefault(key, []).append(shape)
    return [
        SavedRegion(
            id=region_id,
            page=page,
            labels=labels,
            rotation=results.number(shapes[0].get("image_rotation")),
            shapes=tuple(results.value(shape) for shape in shapes),
        )
        for (region_id, page, labels), shapes in objects.items()
    ]


def _shape(members: Sequence[Result]) -> Result | None:
    """The result with the mask, of all results with one id.

    An accepted brush mask is also saved for its prompt's control, with a prompt's type.
    """
    own = (result for result in members if result.get("type") in MASK_TYPES)
    return next(own, next((r for r in members if "rle" in results.value(r)), None))


def _labels(shape: Result, members: Sequence[Result]) -> tuple[str, ...]:
    """The labels of the mask's own control, or else of a shared one, or else of any other."""
    shared = [result for result in members if result.get("type") == SHARED_LABELS]
    for result in (shape, *shared, *members):
        words = results.labels(result)
        if words:
            return tuple(dict.fromkeys(map(str, words)))
    return (UNLABELED,)
