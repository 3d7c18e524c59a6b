"""Prompts of a click, tasks in number, and prompts that tasks hold already."""

from __future__ import annotations

from typing import Any

from tests import fakes
from tests.fuzz.costs.family import (
    PICTURE,
    Draw,
    Made,
    click,
    clicked_or_opened,
    family,
    filled,
    opened,
    post,
    task,
)

# An address that is refused before anything is fetched.
_NOWHERE = "http://10.0.0.1/x.jpg"
_OUTPUTS = {
    "brush": fakes.BRUSH_LABELS,
    "shared": fakes.SHARED_LABELS,
    "polygon": fakes.BRUSH_LABELS.replace("BrushLabels", "PolygonLabels"),
    "bitmask": fakes.BRUSH_LABELS.replace("BrushLabels", "BitmaskLabels"),
    "candidates": fakes.BRUSH_LABELS.replace('smart="true"', 'smart="true" candidates="3"'),
}


def _count(draw: Draw, each: int, most: int = 200) -> int:
    """How many prompts: as many as fit, most of the time no more than are accepted."""
    wanted: int = draw.one_of(most, most, most * 2, draw.size // each + 1)
    return min(max(1, draw.size // each), wanted)


@family("prompts: keypoints on one object")
def _keypoints(draw: Draw) -> Made:
    signs = draw.one_of((True,), (True, False), (False,), (None,))
    name = draw.one_of("p", f"q{draw.dice.random()}")
    count = _count(draw, 350)
    points = [
        fakes.keypoint(f"{name}{n}", n * 7 % 100, n * 13 % 100, positive=signs[n % len(signs)])
        for n in range(count)
    ]
    config = _OUTPUTS[draw.one_of("brush", "polygon", "bitmask", "candidates")]
    return click([task()], points, config)


@family("prompts: rectangles")
def _rectangles(draw: Draw) -> Made:
    turn = draw.one_of(0, 30)
    boxes = [
        fakes.rectangle(f"r{n}", n % 80, n * 3 % 80, 15, 15, rotation=turn)
        for n in range(_count(draw, 350))
    ]
    config = _OUTPUTS[draw.one_of("brush", "polygon", "bitmask", "candidates")]
    return click([task()], boxes, config)


@family("prompts: rectangles and keypoints")
def _both(draw: Draw) -> Made:
    half = _count(draw, 700) // 2
    boxes = [fakes.rectangle(f"r{n}", n % 80, n * 3 % 80, 15, 15) for n in range(half)]
    points = [fakes.keypoint(f"p{n}", n % 100, n * 3 % 100) for n in range(half + 1)]
    return click([task()], [*boxes, *points])


@family("prompts: a label for each")
def _targets(draw: Draw) -> Made:
    what = draw.one_of("label", "page", "image", "size", "rotation")
    found = []
    for n in range(_count(draw, 350)):
        kinds: dict[str, dict[str, Any]] = {
            "page": {"item_index": n},
            "image": {"to_name": f"image{n}"},
            "size": {"original_width": 400 + n},
            "rotation": {"image_rotation": n},
        }
        more = kinds.get(what, {})
        label = f"L{n}" if what == "label" else "Car"
        found.append(fakes.keypoint(f"p{n}", 50, 50, label, **more))
    config = fakes.BRUSH_LABELS.replace(
        '<Label value="Car"/>', "".join(f'<Label value="L{n}"/>' for n in range(200))
    )
    return click([task()], found, draw.one_of(config, fakes.BRUSH_LABELS))


@family("prompts: over the limit")
def _too_many(draw: Draw) -> Made:
    make = draw.one_of(
        lambda n: fakes.keypoint(f"p{n}", 50, 50),
        lambda n: fakes.keypoint("p", n % 100, 50),
        lambda n: fakes.rectangle(f"p{n}", 5, 5, 50, 50),
        lambda n: {"id": f"p{n}", "type": "keypointlabels"},
    )
    return click([task()], filled(draw, make))


@family("prompts: parts of the same ids")
def _parts(draw: Draw) -> Made:
    ids = draw.one_of(1, 190)
    parts = filled(
        draw,
        lambda n: {**fakes.keypoint(f"p{n % ids}", 50, 50), "type": draw.one_of("labels", "x")},
    )
    return click([task()], [fakes.keypoint("p0", 50, 50), *parts])


@family("prompts: long words")
def _words(draw: Draw) -> Made:
    long = draw.one_of("x", "é", "m-", "\u0000", ".1", "'", "<") * (draw.size // 3)
    point = fakes.keypoint("p", 50, 50)
    key = draw.one_of("id", "type", "from_name", "to_name", "label", "project", "task")
    if key == "label":
        return click([task()], [fakes.keypoint("p", 50, 50, long)])
    if key == "task":
        return click([{**task(), "id": long}], [point])
    if key == "project":
        body = fakes.request_body([point], image=PICTURE)
        return post("/predict", {**body, "project": long})
    return click([task()], [{**point, key: long}])


@family("prompts: labels in number")
def _labels(draw: Draw) -> Made:
    words = [f"L{n}" for n in range(draw.size // 10)]
    point = fakes.keypoint("p", 50, 50)
    point["value"]["keypointlabels"] = draw.one_of(words, ["Car"] * len(words), [words])
    return click([task()], [point, fakes.keypoint("q", 20, 50)])


@family("prompts: odd numbers")
def _numbers(draw: Draw) -> Made:
    odd = draw.one_of(1e308, -1e308, 1e-320, 2**62, "1" * 4000, None, [1], "nan", 1e9, -5)
    key = draw.one_of("x", "y", "width", "height", "rotation")

    def make(n: int) -> dict[str, Any]:
        box = fakes.rectangle(f"r{n}", 10, 10, 50, 50)
        box["value"][key] = odd
        return box

    size = draw.one_of({}, {"original_width": odd}, {"item_index": odd}, {"image_rotation": odd})
    boxes = filled(draw, make, most=draw.one_of(1, 10, 150))
    return click([task()], [{**box, **size} for box in boxes])


@family("tasks: a click in many tasks")
def _clicked_tasks(draw: Draw) -> Made:
    tasks = [{**task(), "id": n} for n in range(draw.one_of(2, 16, 17))]
    room = max(1, (draw.size - sum(len(PICTURE) for _ in tasks)) // 350)
    count = min(200, room)
    make = draw.one_of(
        lambda n: fakes.keypoint(f"p{n}", n % 100, 50),
        lambda n: fakes.rectangle(f"r{n}", n % 80, 5, 15, 15),
    )
    return click(tasks, [make(n) for n in range(count)])


@family("tasks: very many")
def _many_tasks(draw: Draw) -> Made:
    more: dict[str, Any] = draw.one_of({}, {"data": {}}, {"annotations": [{}]})
    tasks = filled(draw, lambda n: {**more, "id": n})
    return clicked_or_opened(draw, tasks)


def _stored(count: int, image: str, id_: int) -> dict[str, Any]:
    results = [fakes.rectangle(f"{id_}-{n}", n % 80, n * 7 % 80, 15, 15) for n in range(count)]
    return {**task(image), "id": id_, "annotations": [{"id": 1, "result": results}]}


@family("tasks: prompts in them, no picture")
def _batch(draw: Draw) -> Made:
    each = draw.one_of(1, 20, 500)
    tasks = filled(draw, lambda n: _stored(each, _NOWHERE, n))
    return opened([*tasks, _stored(1, _NOWHERE, 10**6)])


@family("tasks: prompts in them, keypoints and rectangles")
def _batch_groups(draw: Draw) -> Made:
    """Which keypoint belongs to which rectangle is found before a picture is looked for."""
    half = draw.size // 600
    results = [fakes.rectangle(f"r{n}", n % 80, 5, 15, 15) for n in range(half)]
    results += [fakes.keypoint(f"k{n}", n % 100, 50) for n in range(half)]
    tasks = [{**task(_NOWHERE), "annotations": [{"id": 1, "result": results}]}]
    return opened([*tasks, {**task(_NOWHERE), "id": 2}])


@family("tasks: a few prompts in a few of them")
def _small_batch(draw: Draw) -> Made:
    """Decodes of a batch are work that was asked for: a few of them must fit into the limit."""
    return opened([_stored(2, PICTURE, n) for n in range(draw.one_of(2, 3, 4))])


@family("tasks: predictions in number")
def _predictions(draw: Draw) -> Made:
    version = draw.one_of("x", "MobileSAM", None, ["x"], "x" * 1000)
    inner = draw.one_of([], [fakes.rectangle("a", 5, 5, 9, 9)], None, [{"id": "m-a"}])
    many = filled(draw, lambda n: {"id": n, "model_version": version, "result": inner})
    return opened([task(_NOWHERE, predictions=many), {**task(_NOWHERE), "id": 2}])


@family("tasks: much in their data", goes_on=True)
def _data(draw: Draw) -> Made:
    data = {f"d{n}": "x" for n in range(draw.size // 14)} | {"image": PICTURE}
    many = {"id": 1, "data": draw.one_of(data, {"image": ["x"] * (draw.size // 4)}, [1] * 9)}
    return clicked_or_opened(draw, [many])


@family("tasks: pages in number", goes_on=True)
def _pages(draw: Draw) -> Made:
    config = fakes.BRUSH_LABELS.replace('value="$image"', 'valueList="$image"')
    pages = filled(draw, lambda n: draw.one_of(_NOWHERE, "data:,", "", "/x", f"s3://b/{n}"))
    return clicked_or_opened(draw, [task(pages)], config)
