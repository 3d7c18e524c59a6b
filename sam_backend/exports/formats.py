"""The protocol of export formats, and the pictures and labels that they all use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sam_backend.clicks.label_config import LabelConfig
from sam_backend.errors import Refusal
from sam_backend.exports.saved_regions import UNLABELED, SavedRegion
from sam_backend.formats.mask import Mask
from sam_backend.formats.results import Page

Add = Callable[[SavedRegion, Mask], None]  # a mask with at least one pixel

_NAMING = ("Labels", "BrushLabels", "BitmaskLabels", "PolygonLabels", "VectorLabels")


@dataclass(frozen=True)
class ExportedPicture:
    """One picture of one task, with the annotation that is being exported."""

    task: str
    annotation: str
    page: Page
    file_name: str  # of the picture itself
    name: str  # for files of this annotation


class Format(Protocol):
    """One format. Pictures come one by one, and pictures of the same page follow each other."""

    def picture(self, picture: ExportedPicture) -> AbstractContextManager[Add]:
        """Receives the masks of a picture, in the order in which they were saved."""

    def finish(self) -> None:
        """Writes what is only known at the end."""


class Categories:
    """The labels and their numbers, from 1.

    They follow the order of the label config, so that every part of a project has the same
    numbers. Labels that the config lacks follow in alphabetical order.
    """

    def __init__(self, config: LabelConfig | None, found: Iterable[str]) -> None:
        controls = config.controls if config else ()
        known = [label.word for c in controls if c.tag in _NAMING for label in c.labels]
        others = sorted(set(found) - {*known, UNLABELED})
        last = [UNLABELED] if UNLABELED in found else []
        self.names = tuple(dict.fromkeys([*known, *others, *last]))
        self._numbers = {name: number for number, name in enumerate(self.names, start=1)}

    def number(self, region: SavedRegion) -> int:
        """The number of a region's label, or of its first label if it has several."""
        return self._numbers[region.labels[0]]

    def at_most(self, most: int, form: str) -> None:
        if len(self.names) > most:
            raise Refusal(
                "format", f"{form} have room for {most} labels, but there are {len(self.names)}"
            )
