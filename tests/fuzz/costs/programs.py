"""The routes of programs: images, prompts in number, masks in each format, and odd fields."""

from __future__ import annotations

import base64
from typing import Any

from tests import fakes
from tests.fuzz.costs.family import Draw, Made, family, filled, numbers, post, request
from tests.fuzz.costs.regions import png

_FORMATS = ("polygon", "rle", "coco_rle", "png", "bitmask")
_ROUTES = (
    *("/v1/embed", "/v1/segment", "/v1/everything", "/v1/find-similar"),
    *("/sam2/embed_image", "/sam2/segment_image"),
)


def _image(width: int = 400, height: int = 300) -> dict[str, str]:
    """A picture that was not seen before."""
    content = fakes.picture(width, height) + next(numbers).to_bytes(8, "big")
    return {"base64": base64.b64encode(content).decode()}


def _large(draw: Draw) -> dict[str, str]:
    side = min(8000, max(8, int((draw.size * 700) ** 0.5)))
    content = png(side, side, 0, 8) + next(numbers).to_bytes(8, "big")
    return {"base64": base64.b64encode(content).decode()}


def _segment(draw: Draw, image: Any, **more: Any) -> Made:
    chosen = {"format": draw.one_of(*_FORMATS), "alternatives": draw.one_of(0, 3)}
    return post("/v1/segment", {"image": image, **chosen, **more})


@family("programs: points on one object")
def _points(draw: Draw) -> Made:
    count = min(draw.one_of(1, 23, 200, 201), max(1, draw.size // 20))
    points = [[n * 7 % 400, n * 13 % 300] for n in range(count)]
    return _segment(draw, _image(), points=points, labels=[1, *[n % 2 for n in range(count - 1)]])


@family("programs: objects in number")
def _objects(draw: Draw) -> Made:
    count = min(draw.one_of(20, 100, 101), max(1, draw.size // 40))
    make = draw.one_of(
        lambda n: {"points": [[n * 7 % 400, n * 13 % 300]]},
        lambda n: {"box": [n * 3 % 300, n % 200, n * 3 % 300 + 60, n % 200 + 60]},
        lambda n: {"points": [[5, 5]], "labels": [0]},
    )
    return _segment(draw, _image(), objects=[make(n) for n in range(count)])


@family("programs: objects in a large picture")
def _large_objects(draw: Draw) -> Made:
    boxes = [{"box": [0, 0, 8000, 8000 - n]} for n in range(draw.one_of(1, 24, 100))]
    return _segment(draw, _large(draw), objects=boxes)


@family("programs: a picture's own bytes")
def _bytes(draw: Draw) -> Made:
    side = min(8000, max(8, int((draw.size * 900) ** 0.5)))
    content = draw.one_of(
        lambda: png(side, side, 2, 8), lambda: draw.dice.randbytes(draw.size), lambda: b""
    )()
    kind = draw.one_of("image/png", "image/jpeg", "application/octet-stream", "image/" + "x" * 9000)
    return request("/v1/embed", content, headers=[("Content-Type", kind)])


@family("programs: everything, with few points")
def _everything(draw: Draw) -> Made:
    """Each point is a decode that was asked for: a few of them must fit into the limit."""
    body = {"image": _image(), "grid": draw.one_of(1, 2, 3), "format": draw.one_of(*_FORMATS)}
    return post("/v1/everything", body)


@family("programs: examples in number")
def _examples(draw: Draw) -> Made:
    """Each search decodes a mask at each promising point, however few the examples are."""
    count = min(draw.one_of(1, 24, 100, 101), max(1, draw.size // 100))
    counts = [1] * max(2, draw.size // (4 * count)) if draw.one_of(True, False) else [60_000] * 2
    rest = 400 * 300 - sum(counts)
    mask = {"size": [300, 400], "counts": [*counts, max(0, rest)]}
    make = draw.one_of(
        lambda n: {"points": [[n * 7 % 400, n * 13 % 300]]},
        lambda n: {"box": [n * 3 % 300, n % 200, n * 3 % 300 + 60, n % 200 + 60]},
        lambda _: {"mask": mask},
    )
    name = draw.one_of("objects", "negatives", "taken")
    some = {"objects": [make(0)], name: [make(n) for n in range(count)]}
    return post("/v1/find-similar", {"image": _image(), **some, "format": draw.one_of(*_FORMATS)})


@family("programs: fields in number")
def _fields(draw: Draw) -> Made:
    make = draw.one_of(
        lambda n: [n, n], lambda n: [[n]], lambda n: {"x": n}, lambda n: n, lambda n: "1" * 50
    )
    many = filled(draw, make)
    name = draw.one_of("points", "labels", "box", "objects", "prompts", "point_coords", "image")
    return post(draw.one_of(*_ROUTES), {"image": _image(), name: many})


@family("programs: prompts of Roboflow's form")
def _roboflow(draw: Draw) -> Made:
    make = draw.one_of(
        lambda n: {"points": [{"x": n % 400, "y": n * 3 % 300, "positive": True}]},
        lambda n: {"box": {"x": 200, "y": 150, "width": 1 + n % 100, "height": 1 + n % 90}},
        lambda n: {"points": [{"x": 5, "y": 5}] * 200},
    )
    prompts = filled(draw, make, most=draw.one_of(1, 20, 100, 10**6))
    image = {"type": "base64", "value": _image()["base64"]}
    body = {"image": image, "image_id": draw.one_of(None, "x"), "prompts": {"prompts": prompts}}
    return post(draw.one_of("/sam2/embed_image", "/sam2/segment_image"), body)


@family("programs: long words")
def _words(draw: Draw) -> Made:
    long = draw.one_of("x", "é", "\u0000", "A", "=", "<") * (draw.size // 3)
    name = draw.one_of("image_id", "mask_input", "format", "level", long[:1000])
    places: tuple[dict[str, Any], ...] = (
        {"image_id": long},
        {"image": {draw.one_of("url", "base64"): long}},
        {"image": {"url": "http://" + long}},
        {"image": {"url": "data:" + long}},
        {"image": _image(), name: long},
    )
    return post(draw.one_of(*_ROUTES), draw.one_of(*places))


@family("programs: images that are not there")
def _unknown(draw: Draw) -> Made:
    asked = draw.one_of(
        request("/v1/images/" + "x" * draw.one_of(1, 20, 8000), method="DELETE"),
        post("/v1/segment", {"image_id": "x" * 22, "points": [[1, 1]] * draw.one_of(1, 200)}),
        post("/v1/everything", {"image_id": "x" * 22}),
    )
    return (asked,) * 50


@family("programs: an image again and again")
def _again(draw: Draw) -> Made:
    """Each request makes ids: their number has a limit."""
    body = {"image": _image(40, 30), "box": [1, 1, 30, 20]}
    return (post("/v1/segment", body),) * 20


@family("programs: pages")
def _pages(draw: Draw) -> Made:
    path = draw.one_of("/try", "/try/try.js", "/docs", "/try/" + "../" * 2000, "/try/" + "x" * 8000)
    return request(path, method="GET")
