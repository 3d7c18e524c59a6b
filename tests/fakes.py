"""Label Studio's side of a conversation, and an engine whose masks are easy to foretell."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from sam_backend.engines.frame import LOW_RES_SIDE, MODEL_SIDE, Floats
from sam_backend.engines.protocol import SAM, Embedding
from sam_backend.formats.pictures import Pixels

BRUSH_LABELS = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="tag" toName="image"><Label value="Car"/><Label value="Bike"/></BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true">
    <Label value="Car"/><Label value="Bike"/></KeyPointLabels>
  <RectangleLabels name="tag3" toName="image" smart="true">
    <Label value="Car"/><Label value="Bike"/></RectangleLabels>
</View>"""

SHARED_LABELS = """<View>
  <Labels name="label" toName="image"><Label value="Car"/><Label value="Bike"/></Labels>
  <Image name="image" value="$image"/>
  <Brush name="mask" toName="image"/>
  <KeyPoint name="point" toName="image" smart="true"/>
  <Rectangle name="box" toName="image" smart="true"/>
</View>"""


class DiscEngine:
    """Sees a disc of 10 low-res pixels at each positive point and all of a box, on top of the mask
    that it is given; a negative point takes its disc away. All mask tokens say the same."""

    name = "disc"
    facts = SAM

    def encode(self, image: Pixels) -> Embedding:
        return Embedding(np.zeros((1, 1, 1, 1), np.float32), image.shape[0], image.shape[1])

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        scale = embedding.frame.scaled[1] / embedding.width
        step = scale * LOW_RES_SIDE / MODEL_SIDE
        rows, columns = np.mgrid[:LOW_RES_SIDE, :LOW_RES_SIDE]
        mask = (
            np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), bool) if mask_input is None else mask_input > 0
        )
        if box is not None:
            x0, y0, x1, y1 = box * step
            mask |= (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)
        for wanted in (1, 0):
            for x, y in points[labels == wanted] * step:
                disc = np.hypot(columns - x, rows - y) < 10
                mask = mask | disc if wanted else mask & ~disc
        logits = np.where(mask, np.float32(8), np.float32(-8))[None].repeat(4, axis=0)
        return logits, np.full(4, 0.9, np.float32)


def picture(width: int = 400, height: int = 300, fmt: str = "PNG") -> bytes:
    """An image file with something in it."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1)
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, fmt)
    return out.getvalue()


def plain_picture(mode: str, side: int, fmt: str, **options: object) -> bytes:
    """The file of a square image of one colour."""
    out = io.BytesIO()
    Image.new(mode, (side, side)).save(out, fmt, **options)
    return out.getvalue()


def inline(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def keypoint(
    id_: str, x: float, y: float, label: str = "Car", positive: bool | None = True, **more: Any
) -> dict[str, Any]:
    """A smart keypoint of a config with labels on each control. None: `is_positive` is absent."""
    result = {
        "id": id_,
        "type": "keypointlabels",
        "from_name": "tag2",
        "to_name": "image",
        "original_width": 400,
        "original_height": 300,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [label], "labels": [label]},
        "origin": "manual",
        **more,
    }
    return result if positive is None else {**result, "is_positive": positive}


def rectangle(
    id_: str,
    x: float,
    y: float,
    width: float,
    height: float,
    label: str = "Car",
    rotation: float = 0,
    **more: Any,
) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return {
        "id": id_,
        "type": "rectanglelabels",
        "from_name": "tag3",
        "to_name": "image",
        "original_width": 400,
        "original_height": 300,
        "image_rotation": 0,
        "value": {**value, "rectanglelabels": [label]},
        "origin": "manual",
        **more,
    }


def shared_pair(prompt: dict[str, Any], label: str = "Car") -> list[dict[str, Any]]:
    """The same prompt as a config with one shared `<Labels>` sends it: two results of one id."""
    kind = prompt["type"].removesuffix("labels")
    name = {"keypoint": "point", "rectangle": "box"}[kind]
    place = {k: v for k, v in prompt["value"].items() if not k.endswith("labels")}
    return [
        {**prompt, "type": kind, "from_name": name, "value": place},
        {**prompt, "type": "labels", "from_name": "label", "value": {**place, "labels": [label]}},
    ]


def request_body(
    context: Iterable[dict[str, Any]] | None,
    config: str = BRUSH_LABELS,
    image: str | None = None,
    drafts: Iterable[dict[str, Any]] = (),
    task_id: int = 1,
) -> dict[str, Any]:
    """What Label Studio posts to /predict; no context is what it posts when a task is opened."""
    return {
        "tasks": [
            {
                "id": task_id,
                "data": {"image": image or inline(picture())},
                "annotations": [],
                # A task that is opened comes without its drafts.
                **({} if context is None else {"drafts": list(drafts)}),
            }
        ],
        "project": "1.1795243155",
        "label_config": config,
        "params": {
            "login": None,
            "password": None,
            "context": None if context is None else {"result": list(context)},
        },
    }
