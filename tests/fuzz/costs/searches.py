"""Searches for the rest of a kind, and words, in pictures with many objects that look alike."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import cv2
import numpy as np

from sam_backend.formats import rle
from tests import fakes
from tests.fuzz.costs.family import Draw, Made, click, data_url, family, numbers, post, task
from tests.fuzz.costs.regions import region

_FORMATS = ("polygon", "rle", "coco_rle", "png", "bitmask")
_OUTPUTS = ("Brush", "Polygon", "Bitmask", "Rectangle", "Vector")
_FINISHES = (
    *("", 'sam_smooth="100"', 'sam_holes="fill" sam_min_area="9"', 'sam_detail="100"'),
    *('sam_overlap="below"', 'sam_overlap="above"'),
)
# Of the picture, and the number of objects in a row. In the largest, each object is a large mask.
_SCENES = ((400, 300, 8), (400, 400, 8), (3000, 2000, 8), (4000, 3000, 5), (8000, 6000, 3))
_SHAPES = ("disc", "ring", "bar")

Scene = tuple[int, int, int, str]


@cache
def _picture(scene: Scene) -> bytes:
    """A PNG with objects that look alike, in rows and columns."""
    width, height, count, shape = scene
    pixels = np.full((height, width, 3), 90, np.uint8)
    radius = int(0.3 * min(width, height) / count)
    for x, y in _places(scene):
        if shape == "bar":
            corners = (x - radius, y - radius // 3), (x + radius, y + radius // 3)
            cv2.rectangle(pixels, *corners, (220, 40, 40), cv2.FILLED)
        else:
            thickness = cv2.FILLED if shape == "disc" else max(1, radius // 4)
            cv2.circle(pixels, (x, y), radius, (220, 40, 40), thickness)
    return cv2.imencode(".png", pixels)[1].tobytes()


def _places(scene: Scene) -> list[tuple[int, int]]:
    """The middles of the objects, in pixels."""
    width, height, count, _ = scene
    middles = [(2 * n + 1) / (2 * count) for n in range(count)]
    return [(int(x * width), int(y * height)) for y in middles for x in middles]


def _scene(draw: Draw) -> Scene:
    width, height, count = draw.one_of(*_SCENES)
    return width, height, count, draw.one_of(*_SHAPES)


def _fresh(scene: Scene) -> bytes:
    """The same picture as one that was not seen before."""
    return _picture(scene) + next(numbers).to_bytes(8, "big")


def _image(scene: Scene) -> dict[str, str]:
    return {"base64": base64.b64encode(_fresh(scene)).decode()}


def _mask(scene: Scene, place: tuple[int, int]) -> dict[str, Any]:
    """Run lengths of a disc's middle, column by column."""
    width, height, _, _ = scene
    start = place[0] * height + place[1]
    return {"size": [height, width], "counts": [start, 9, width * height - start - 9]}


def _example(draw: Draw, scene: Scene, place: tuple[int, int]) -> dict[str, Any]:
    x, y = place
    side = min(scene[:2]) // (3 * scene[2])
    box = [max(0, x - side), max(0, y - side), x + side, y + side]
    made: dict[str, Any] = draw.one_of(
        {"points": [[x, y]]}, {"box": box}, {"mask": _mask(scene, place)}
    )
    return made


@family("search: alike objects, by programs")
def _programs(draw: Draw) -> Made:
    scene = _scene(draw)
    places = _places(scene)
    some = places[: draw.one_of(1, 2, 24, 64)]
    body: dict[str, Any] = {"objects": [_example(draw, scene, place) for place in some]}
    for name in draw.one_of((), ("negatives",), ("taken",), ("negatives", "taken")):
        body[name] = [_example(draw, scene, place) for place in places[-draw.one_of(1, 18) :]]
    return post("/v1/find-similar", {"image": _image(scene), "format": form(draw), **body})


def form(draw: Draw) -> str:
    chosen: str = draw.one_of(*_FORMATS)
    return chosen


def _config(draw: Draw) -> str:
    tag = draw.one_of(*_OUTPUTS)
    return f"""<View><Image name="image" value="$image"/>
    <{tag}Labels name="tag" toName="image" {draw.one_of(*_FINISHES)}>
      <Label value="Car"/></{tag}Labels>
    <KeyPointLabels name="rest" toName="image" smart="true" sam_find="rest">
      <Label value="Car"/></KeyPointLabels>
    <RectangleLabels name="rest-box" toName="image" smart="true" sam_find="rest">
      <Label value="Car"/></RectangleLabels>
    <KeyPointLabels name="point" toName="image" smart="true"><Label value="Car"/></KeyPointLabels>
    </View>"""


def _prompt(scene: Scene, id_: str, place: tuple[int, int], **more: Any) -> dict[str, Any]:
    width, height, _, _ = scene
    size: dict[str, Any] = {"original_width": width, "original_height": height}
    return fakes.keypoint(id_, 100 * place[0] / width, 100 * place[1] / height, **size, **more)


@family("search: alike objects, by clicks")
def _clicks(draw: Draw) -> Made:
    scene = _scene(draw)
    places = _places(scene)[: draw.one_of(1, 2, 24, 64)]
    least = draw.one_of(1, 3)  # one of three is a counter-example, or none
    context = [
        _prompt(scene, f"p{n}", place, from_name="rest", positive=least == 1 or n % 3 != 2)
        for n, place in enumerate(places)
    ]
    return click([task(data_url(_fresh(scene)))], context, _config(draw))


def _drafts(scene: Scene, places: list[tuple[int, int]], times: float) -> list[Any]:
    """A draft with a mask for each place, so many times as large as the object there."""
    width, height, _, _ = scene
    size: dict[str, Any] = {"original_width": width, "original_height": height}
    results = []
    for n, (x, y) in enumerate(places):
        mask = np.zeros((height, width), np.uint8)
        cv2.circle(mask, (x, y), int(times * 0.3 * min(width, height) / scene[2]), 1, cv2.FILLED)
        brush = {"format": "rle", "rle": rle.encode(mask > 0)}
        results.append(region(f"a{n}", "brushlabels", brush, **size))
    return [{"id": 1, "updated_at": "2026-01-01T00:00:00Z", "result": results}]


@family("search: alike objects, some with masks")
def _masks(draw: Draw) -> Made:
    scene = _scene(draw)
    places = _places(scene)
    drafts = _drafts(scene, places[: draw.one_of(1, 16, 40)], 1)
    context = [_prompt(scene, f"p{n}", p, from_name="rest") for n, p in enumerate(places[:2])]
    return click([task(data_url(_fresh(scene)), drafts=drafts)], context, _config(draw))


@family("prompts: objects in a large picture")
def _large(draw: Draw) -> Made:
    """Each prompt is an object of its own, with a label of its own or with the same one."""
    scene = _scene(draw)
    places = _places(scene)[: draw.one_of(1, 12, 24)]
    width, height, _, _ = scene
    size: dict[str, Any] = {"original_width": width, "original_height": height}
    boxes = [
        fakes.rectangle(f"r{n}", 2 * n, n, *draw.one_of((9, 9), (50, 70)), **size)
        for n in range(len(places))
    ]
    config = _config(draw).replace("rest-box", "tag3").replace('sam_find="rest"', "")
    drafts = draw.one_of([], _drafts(scene, places, 1), _drafts(scene, places, 9))
    return click([task(data_url(_fresh(scene)), drafts=drafts)], boxes, config)


@family("words: phrases, by programs")
def _phrases(draw: Draw) -> Made:
    """Without a text model, so they are refused: what is read before that is the cost."""
    word = draw.one_of("x", "é", "\u0000", " ", "=", ";")
    phrases: Any = draw.one_of(
        ["car"] * 20,
        [word * 200] * 20,
        [word * draw.size],
        [[]] * (draw.size // 3),
        [f"w{n}" for n in range(draw.size // 9)],
        word * draw.size,
    )
    return post("/v1/segment-text", {"image": _image(_scene(draw)), "phrases": phrases})


@family("words: a text area")
def _text_area(draw: Draw) -> Made:
    piece = draw.one_of("car;", "car=Car;", ";", "=", "\n", "é;", "x", "car\u0000;")
    text = piece * draw.one_of(1, 20, draw.size // len(piece) // 3)
    texts: Any = draw.one_of(text, [text], list(text), [None] * 20, {"a": text})
    result = {
        "id": "t",
        "type": "textarea",
        "from_name": "words",
        "to_name": "image",
        "value": {"text": texts},
    }
    config = _config(draw).replace(
        "</View>", '<TextArea name="words" toName="image" smart="true"/></View>'
    )
    return click([task(data_url(_fresh(_scene(draw))))], [result], config)
