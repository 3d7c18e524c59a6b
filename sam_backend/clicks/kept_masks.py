"""The masks of a saved annotation, as two numbers each: all that is learnt from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sam_backend.clicks import existing_masks
from sam_backend.clicks.learnt_shapes import Figures, figures
from sam_backend.formats.results import Saved

# Of one annotation. Reading them takes a few milliseconds each.
MOST_MASKS = 20


@dataclass(frozen=True)
class KeptMask:
    """One object of a saved annotation."""

    label: str
    region: str
    figures: Figures


def of_annotation(annotation: Saved) -> list[KeptMask]:
    """The masks with a label. A cancelled annotation has none."""
    if annotation.get("was_cancelled"):
        return []
    found = []
    for region, labels, mask in existing_masks.masks_of(annotation, MOST_MASKS):
        shape = figures(mask)
        if labels and shape is not None:
            found.append(KeptMask(label_name(labels), region, shape))
    return found


def label_name(labels: Iterable[str]) -> str:
    """One name for all labels of a region."""
    return ", ".join(sorted(labels))
