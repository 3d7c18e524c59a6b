"""The clicks of `make soak`: on which picture, with which prompts, and which mask is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import requests
from PIL import Image, ImageDraw

from sam_backend.formats import rle
from tools.bench.pictures import Pictures

ANNOTATORS = 8
PICTURES = 6
SIZE = (960, 640)  # of all pictures: a mask of another one would fit
PROMPTS = 3  # of an object; every object's have the same ids
TASKS = 2  # that the objects are in
TIMEOUT_S = 60.0

_CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="A"/><Label value="B"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="A"/></KeyPointLabels>
<RectangleLabels name="box" toName="image" smart="true"><Label value="A"/>
<Label value="B"/></RectangleLabels>
</View>"""

Place = tuple[float, float]  # percent


@dataclass(frozen=True)
class Click:
    """A request for a mask: keypoints of one object, or a rectangle."""

    picture: str
    task: int
    points: tuple[Place, ...]
    box: tuple[float, float, float, float] | None = None
    box_label: str = "B"

    def body(self, annotator: str, task: int | None = None, prefix: str = "p") -> bytes:
        """As Label Studio sends it. Each annotator works in a project of their own."""
        size = {"original_width": SIZE[0], "original_height": SIZE[1], "to_name": "image"}
        results = [
            size
            | {
                "id": f"{prefix}{n}",
                "type": "keypointlabels",
                "from_name": "point",
                "is_positive": n != 2,
                "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["A"]},
            }
            for n, (x, y) in enumerate(self.points)
        ]
        if self.box is not None:
            place = dict(zip(("x", "y", "width", "height"), self.box, strict=True))
            results.append(
                size
                | {
                    "id": f"{prefix}0",
                    "type": "rectanglelabels",
                    "from_name": "box",
                    "value": place | {"rotation": 0, "rectanglelabels": [self.box_label]},
                }
            )
        number = self.task if task is None else task
        return orjson.dumps(
            {
                "tasks": [{"id": number, "data": {"image": self.picture}}],
                "project": annotator,
                "label_config": _CONFIG,
                "params": {"context": {"result": results}},
            }
        )


@dataclass(frozen=True)
class Answer:
    """The RLE of each mask; empty if the back end has none, None if the connection was cut."""

    masks: tuple[tuple[int, ...], ...] | None
    status: int = 0


def pictures(served: Pictures) -> list[str]:
    """The addresses of pictures with objects to click."""
    return [served.add(f"soak-{n}.png", drawn(n)) for n in range(PICTURES)]


def clicks(addresses: Sequence[str], objects: int, seed: int = 1) -> list[Click]:
    """One, two and three keypoints, and a rectangle, for each object.

    They have the same positions, tasks and ids on each picture, so that only the picture decides
    the mask.
    """
    dice = np.random.default_rng(seed)
    found = []
    for number in range(objects):
        x, y = (float(v) for v in dice.uniform(10, 80, 2).round(1))
        steps = dice.uniform(-6, 6, (PROMPTS - 1, 2)).round(1)
        points = ((x, y), *((x + float(dx), y + float(dy)) for dx, dy in steps))
        for picture in addresses:
            task = number % TASKS + 1
            found += [Click(picture, task, points[: n + 1]) for n in range(PROMPTS)]
            found.append(Click(picture, task, (), (x, y, 15.0, 18.0)))
    return found


def ask(url: str, body: bytes, timeout: float = TIMEOUT_S) -> Answer:
    headers = {"Content-Type": "application/json"}
    try:
        response = requests.post(f"{url}/predict", body, headers=headers, timeout=timeout)
    except requests.RequestException:
        return Answer(None)
    if response.status_code != 200:
        return Answer((), response.status_code)
    results: list[Mapping[str, Any]] = response.json()["results"][0]["result"]
    return Answer(tuple(tuple(result["value"]["rle"]) for result in results), 200)


def right_masks(url: str, wanted: Sequence[Click]) -> list[Answer]:
    """The answers of a server without other clicks: each click has its own task."""

    def fresh(number: int) -> Answer:
        body = wanted[number].body(f"alone-{number}", 1000 + number, f"q{number}-")
        return ask(url, body)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(fresh, range(len(wanted))))


def likeness(one: Answer, other: Answer) -> float:
    """IoU of the first masks of two answers."""
    masks = [
        rle.decode(answer.masks[0], SIZE[1], SIZE[0])
        if answer.masks
        else np.zeros((SIZE[1], SIZE[0]), bool)
        for answer in (one, other)
    ]
    union = int((masks[0] | masks[1]).sum())
    return int((masks[0] & masks[1]).sum()) / union if union else 1.0


def drawn(number: int) -> Image.Image:
    """A picture with shapes to click, different for each number."""
    dice = np.random.default_rng(number)
    colours = dice.integers(30, 220, (25, 3))
    image = Image.new("RGB", SIZE, tuple(int(v) for v in colours[0]))
    pen = ImageDraw.Draw(image)
    for colour in colours[1:]:
        x, y = int(dice.integers(0, SIZE[0])), int(dice.integers(0, SIZE[1]))
        width, height = (int(v) for v in dice.integers(40, 200, 2))
        shape = pen.ellipse if dice.random() < 0.5 else pen.rectangle
        shape((x, y, x + width, y + height), fill=tuple(int(v) for v in colour))
    return image
