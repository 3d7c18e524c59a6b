"""A request has so many decodes, however many tasks, objects and prompts it names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask.testing import FlaskClient

from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared import click_budget
from sam_backend.shared.click_budget import DECODES_A_REQUEST
from tests.fakes import BRUSH_LABELS, DiscEngine, inline, keypoint, picture, rectangle, request_body
from tools.quality.engines import Counted


@pytest.fixture
def engine() -> Counted:
    return Counted(DiscEngine())


@pytest.fixture
def client(services: Callable[..., Services], engine: Counted) -> FlaskClient:
    made = services(engine)
    return create_app(made.settings, made).test_client()


def points(count: int) -> list[dict[str, Any]]:
    return [keypoint(f"k{n}", 20 + n / 2, 50) for n in range(count)]


def boxes(count: int) -> list[dict[str, Any]]:
    return [rectangle(f"r{n}", n / 3, n / 3, 20, 20) for n in range(count)]


@pytest.mark.parametrize("prompts", [points, boxes])
def test_all_tasks_and_objects_of_a_request_share_one_budget(
    client: FlaskClient,
    engine: Counted,
    prompts: Callable[[int], list[dict[str, Any]]],
) -> None:
    body = request_body(prompts(100))
    body["tasks"] = [
        {**body["tasks"][0], "id": number, "data": {"image": body["tasks"][0]["data"]["image"]}}
        for number in range(16)
    ]
    assert client.post("/predict", json=body).status_code == 200
    assert engine.decodes == DECODES_A_REQUEST
    (error, *_) = client.get("/").get_json()["last_errors"]
    assert error["message"].startswith("the prompts of this click need more than 24 new masks")


def test_the_objects_that_are_done_are_answered(client: FlaskClient) -> None:
    ask = partial(client.post, "/predict", json=request_body(boxes(60)))
    found = [len(ask().get_json()["results"][0]["result"]) for _ in range(4)]
    assert found == [24, 48, 60, 60]


def test_the_clicks_that_are_done_are_kept_for_the_next_request(
    client: FlaskClient, engine: Counted
) -> None:
    ask = partial(client.post, "/predict", json=request_body(points(60)))
    found = [len(ask().get_json()["results"][0]["result"]) for _ in range(3)]
    assert found == [0, 0, 1]
    assert engine.decodes == 60


def test_the_next_request_has_its_own(client: FlaskClient) -> None:
    client.post("/predict", json=request_body(points(100)))
    answer = client.post("/predict", json=request_body(boxes(3))).get_json()
    assert len(answer["results"][0]["result"]) == 3


def test_the_masks_of_a_click_have_so_many_pixels_also_if_they_are_known(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = request_body(boxes(5))
    answer = client.post("/predict", json=body).get_json()
    assert len(answer["results"][0]["result"]) == 5
    monkeypatch.setattr(click_budget, "MASK_PIXELS", 3 * 400 * 300)
    answer = client.post("/predict", json=body).get_json()
    assert len(answer["results"][0]["result"]) == 3
    (error, *_) = client.get("/").get_json()["last_errors"]
    assert "million pixels in all: accept the masks" in str(error)


def test_rectangles_have_no_candidates_that_take_pixels(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_budget, "MASK_PIXELS", 3 * 400 * 300)
    config = BRUSH_LABELS.replace("<RectangleLabels", '<RectangleLabels candidates="3"')
    body = request_body(boxes(3), config)
    answer = client.post("/predict", json=body).get_json()
    assert len(answer["results"][0]["result"]) == 3


def test_the_first_mask_is_made_however_large_it_is(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_budget, "MASK_PIXELS", 1)
    answer = client.post("/predict", json=request_body(boxes(2))).get_json()
    assert len(answer["results"][0]["result"]) == 1


def test_a_request_encodes_so_many_images_and_the_next_one_goes_on(
    client: FlaskClient, engine: Counted
) -> None:
    body = request_body([keypoint("k", 50, 50)])
    body["tasks"] = [
        {**body["tasks"][0], "id": n, "data": {"image": inline(picture() + bytes([n]))}}
        for n in range(5)
    ]
    for answered in (2, 4, 5):
        results = client.post("/predict", json=body).get_json()["results"]
        assert [bool(each["result"]) for each in results] == [n < answered for n in range(5)]
        assert engine.encodes == answered
    (error, *_) = client.get("/").get_json()["last_errors"]
    assert "more than 2 new images at once: click again" in error["message"]
