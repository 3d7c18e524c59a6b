"""The same request gets the same mask, whatever was asked before it, in between, or elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from sam_backend.engines.frame import LOW_RES_SIDE, Floats
from sam_backend.engines.protocol import Embedding
from sam_backend.formats import rle
from sam_backend.server.app import create_app
from tests import shades
from tests.fakes import inline, keypoint, rectangle

CONFIG = """<View>
  <Image name="image" value="$image"/><Image name="page" valueList="$pages"/>
  <BrushLabels name="tag" toName="image"><Label value="Car"/><Label value="Bike"/></BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true">
    <Label value="Car"/><Label value="Bike"/></KeyPointLabels>
  <RectangleLabels name="tag3" toName="image" smart="true">
    <Label value="Car"/><Label value="Bike"/></RectangleLabels>
  <BrushLabels name="tag4" toName="page"><Label value="Car"/></BrushLabels>
  <KeyPointLabels name="tag5" toName="page" smart="true"><Label value="Car"/></KeyPointLabels>
</View>"""
IMAGES = [inline(shades.picture(brightness)) for brightness in (40, 80, 120, 160)]
SIZE: dict[str, Any] = {"original_width": shades.SIDE, "original_height": shades.SIDE}

Body = dict[str, Any]


class OrderEngine(shades.FakeEngine):
    """Its masks depend on everything: image, places and order of the clicks, box, earlier mask."""

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        self.before_decode()
        scale = LOW_RES_SIDE / max(embedding.frame.scaled)
        scale *= embedding.frame.scaled[1] / embedding.width
        rows, columns = np.mgrid[:LOW_RES_SIDE, :LOW_RES_SIDE]
        logits = np.full((LOW_RES_SIDE, LOW_RES_SIDE), -8, np.float32)
        if mask_input is not None:
            logits = mask_input * np.float32(0.7)
        if box is not None:
            x0, y0, x1, y1 = box * scale
            logits[(columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)] += 9
        reach = float(embedding.features[0, 0, 0, 0]) / 8
        for n, ((x, y), label) in enumerate(zip(points * scale, labels, strict=True)):
            near = np.hypot(rows - y, columns - x) < reach + 3 * (n % 5)
            logits[near] += np.float32(12 if label else -7)
        return logits[None].repeat(4, axis=0), np.full(4, 0.9, np.float32)


Server = Callable[[], FlaskClient]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A fresh one with each call, with folders of its own."""
    count = iter(range(1000))

    def start() -> FlaskClient:
        services = shades.services(tmp_path / str(next(count)), OrderEngine())
        return create_app(services.settings, services).test_client()

    return start


def body(
    prompts: Iterable[Body], image: str, *, project: str = "1.1", task: int = 1, **data: Any
) -> Body:
    return {
        "tasks": [{"id": task, "data": {"image": image, **data}, "drafts": [], "annotations": []}],
        "project": project,
        "label_config": CONFIG,
        "params": {"context": {"result": list(prompts)}},
    }


def point(id_: str, x: float, y: float, **more: Any) -> Body:
    return keypoint(id_, x, y, **{**SIZE, **more})


def masks(client: FlaskClient, asked: Body) -> dict[str, bytes]:
    """The mask of each region, by its id."""
    response = client.post("/predict", json=asked)
    assert response.json is not None
    (answer,) = response.json["results"]
    return {
        region["id"]: rle.decode(region["value"]["rle"], shades.SIDE, shades.SIDE).tobytes()
        for region in answer["result"]
    }


def test_the_same_prompt_on_another_image_of_the_same_task(server: Server) -> None:
    asked = [body([point("k", 50, 50)], image) for image in IMAGES]
    alone = [masks(server(), each) for each in asked]
    together = server()
    assert [masks(together, each) for each in asked] == alone
    assert len({tuple(found.values()) for found in alone}) == len(IMAGES)


def test_the_same_prompt_and_task_in_another_project(server: Server) -> None:
    asked = [body([point("k", 50, 50)], image, project=f"{n}.1") for n, image in enumerate(IMAGES)]
    together = server()
    assert [masks(together, each) for each in asked] == [masks(server(), each) for each in asked]


def test_the_same_prompt_on_other_pages(server: Server) -> None:
    asked = [
        body(
            [point("k", 50, 50, from_name="tag5", to_name="page", item_index=page)],
            IMAGES[0],
            pages=IMAGES,
        )
        for page in range(len(IMAGES))
    ]
    together = server()
    assert [masks(together, each) for each in asked] == [masks(server(), each) for each in asked]


def test_a_rectangle_on_the_image_that_a_task_had_before_is_not_joined(server: Server) -> None:
    box = rectangle("r", 10, 10, 80, 80, **SIZE)
    cut = body([point("k", 50, 50)], IMAGES[1])
    together = server()
    masks(together, body([box], IMAGES[0]))
    assert masks(together, cut) == masks(server(), cut)


def test_keypoints_count_in_the_order_in_which_they_are_sent(server: Server) -> None:
    points = [point(f"k{n}", 20 + 9 * n, 50, positive=n != 3) for n in range(6)]
    asked = body(points, IMAGES[2])
    together = server()
    first = masks(together, asked)
    masks(together, body(points[3:], IMAGES[2]))
    assert masks(together, asked) == first
    masks(together, body(points[::-1], IMAGES[2]))
    assert masks(together, asked) == first
    assert masks(server(), body(points[::-1], IMAGES[2])) != first, "the order matters"


def painted(mask: Any) -> Body:
    value = {"format": "rle", "rle": rle.encode(mask), "brushlabels": ["Car"]}
    region = {"id": "old", "type": "brushlabels", "from_name": "tag", "to_name": "image", **SIZE}
    return {"id": 1, "updated_at": "1", "result": [{**region, "value": value}]}


def test_a_mask_that_was_painted_over_by_a_little(server: Server) -> None:
    """The new one has as many runs, and most of them are the same."""
    rows, columns = np.mgrid[: shades.SIDE, : shades.SIDE]
    grown = [(rows < 40) & ((columns % 4 < 2) | (rows > 37)) for _ in range(2)]
    grown[0][5, 2], grown[1][5, 6] = True, True
    asked = []
    for mask in grown:
        asked.append(body([point("k", 10, 8, positive=False)], IMAGES[0]))
        asked[-1]["tasks"][0]["drafts"] = [painted(mask)]
    together = server()
    assert [masks(together, each) for each in asked] == [masks(server(), each) for each in asked]


def some_request(dice: random.Random) -> Body:
    """A click of one of three annotators, who name their prompts alike, in one of a few places."""
    image, project = dice.choice(IMAGES), dice.choice(["1.1", "2.1"])
    annotator, task = dice.randrange(3), dice.choice([1, 2])
    # Keypoints and rectangles have labels of their own here: those of one label are joined, so
    # that an answer depends, as it should, on what the same annotator drew a moment ago.
    if dice.random() < 0.3:
        spots = [(10 + 20 * dice.randrange(3), 10 + 20 * dice.randrange(3)) for _ in range(2)]
        boxes = [
            rectangle(f"r{n}", x, y, 30 + annotator, 25, label="Bike", **SIZE)
            for n, (x, y) in enumerate(spots)
        ]
        return body(boxes[: dice.randint(1, 2)], image, project=project, task=task)
    path = random.Random(annotator)
    points = [
        point(f"k{n}", path.uniform(10, 90), path.uniform(10, 90), positive=path.random() < 0.8)
        for n in range(8)
    ]
    points[0]["is_positive"] = True
    start = dice.choice([0, 0, 0, 1])
    asked = body(points[start : start + dice.randint(1, 7)], image, project=project, task=task)
    if dice.random() < 0.3:
        rows, columns = np.mgrid[: shades.SIDE, : shades.SIDE]
        size = dice.choice([8, 12, 16])
        draft = painted(np.hypot(rows - 32, columns - 32) < size)
        asked["tasks"][0]["drafts"] = [draft]
    return asked


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_clicks_in_any_order(server: Server, seed: int) -> None:
    dice = random.Random(seed)
    asked = [some_request(dice) for _ in range(40)]
    client = server()
    first = [masks(client, each) for each in asked]
    order = list(range(len(asked)))
    for other in (client, server()):
        dice.shuffle(order)
        assert [n for n in order if masks(other, asked[n]) != first[n]] == []
