"""The prompt of the doctor's trial click, as the editor would make it."""

from __future__ import annotations

from typing import Any

from sam_backend.clicks.controls import KEYPOINT_TAGS, PROMPT_TAGS, Control
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.watched_click import CHECK_PROMPT

Result = dict[str, Any]


def prompt(
    config: LabelConfig, to_name: str, width: int, height: int, item_index: int | None = None
) -> list[Result]:
    """A keypoint in the middle, else a rectangle around it, with the first label. Else [].

    With shared labels these are two results of one id.
    """
    control = _smart(config, to_name)
    if control is None:
        return []
    labels = control.labels or getattr(config.labels_for(to_name), "labels", ())
    words = [label.word for label in labels[:1]]
    kind = "keypoint" if control.tag in KEYPOINT_TAGS else "rectangle"
    place = {"x": 50.0, "y": 50.0, "width": 0.3}
    if kind == "rectangle":
        place = {"x": 25.0, "y": 25.0, "width": 50.0, "height": 50.0, "rotation": 0.0}
    region: Result = {
        "id": CHECK_PROMPT,
        "to_name": to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "is_positive": True,
        "value": {**place, "labels": words},
    }
    if item_index is not None:
        region["item_index"] = item_index
    if control.takes_labels:
        value = {**region["value"], f"{kind}labels": words}
        return [{**region, "from_name": control.name, "type": f"{kind}labels", "value": value}]
    shared = config.labels_for(to_name)
    pair = [{**region, "from_name": control.name, "type": kind}]
    pair += [{**region, "from_name": shared.name, "type": "labels"}] if shared and words else []
    return pair


def _smart(config: LabelConfig, to_name: str) -> Control | None:
    smart = [c for c in config.controls if c.tag in PROMPT_TAGS and c.smart]
    here = [control for control in smart if to_name in control.to_names]
    return min(here, key=lambda control: control.tag not in KEYPOINT_TAGS, default=None)
