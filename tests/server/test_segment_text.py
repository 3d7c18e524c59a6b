"""`POST /v1/segment-text`: the masks of what phrases name, for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from flask.testing import FlaskClient

from sam_backend.clicks.segmenter import segment
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared import click_budget
from sam_backend.shared.text_search import TextSearch
from tests.fakes import inline, picture
from tests.server.test_words import BOXES, Detector

IMAGE = {"url": inline(picture())}


@pytest.fixture
def client(services: Callable[..., Services]) -> FlaskClient:
    made = services()
    made.masks = replace(made.masks, text=TextSearch(Detector))
    return create_app(made.settings, made).test_client()


def ask(client: FlaskClient, **body: Any) -> tuple[int, Any]:
    answer = client.post("/v1/segment-text", json=body)
    return answer.status_code, answer.get_json()


def test_each_phrase_gets_the_masks_of_its_objects(client: FlaskClient) -> None:
    status, found = ask(client, image=IMAGE, phrases=["car", "boat"])
    assert status == 200
    assert [each["phrase"] for each in found["phrases"]] == ["car", "boat"]
    cars, boats = (each["objects"] for each in found["phrases"])
    assert [mask["score"] for mask in cars] == [0.9, 0.8]
    for mask, box in zip(cars, BOXES["car"], strict=True):
        assert mask["format"] == "polygon"
        assert all(abs(a - b) <= 3 for a, b in zip(mask["box"], box, strict=True))
    assert boats == []


def test_the_image_can_be_segmented_further_by_its_id(client: FlaskClient) -> None:
    _, found = ask(client, image=IMAGE, phrases=["car"])
    body = {"image_id": found["image_id"], "points": [[60, 60]]}
    assert client.post("/v1/segment", json=body).status_code == 200


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"image": IMAGE}, "'phrases' is not a list of 1 to 20 texts"),
        ({"image": IMAGE, "phrases": ["a"] * 21}, "'phrases' is not a list of 1 to 20 texts"),
        ({"image": IMAGE, "phrases": [" "]}, "one of 'phrases' is not a text of 1 to 200"),
        ({"image": IMAGE, "phrases": ["a" * 201]}, "one of 'phrases' is not a text of 1 to 200"),
        ({"image_id": "x", "phrases": ["a"]}, "there is no field 'image_id' here"),
    ],
)
def test_wrong_fields_are_named(client: FlaskClient, body: dict[str, Any], complaint: str) -> None:
    status, answer = ask(client, **body)
    assert status == 400
    assert complaint in answer["detail"]


def test_a_server_without_a_text_model_says_so(services: Callable[..., Services]) -> None:
    made = services()
    client = create_app(made.settings, made).test_client()
    status, answer = ask(client, image=IMAGE, phrases=["car"])
    assert status == 422
    assert "set SAM_TEXT_MODEL" in answer["detail"]


def test_phrases_without_room_say_so_and_make_no_masks(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_backend.server.programs.answer_limits.MOST_PIXELS", 400 * 300)
    with patch("sam_backend.clicks.words.segment", wraps=segment) as made:
        _, found = ask(client, image=IMAGE, phrases=["car", "boat", "tree"])
    cars, boats, trees = found["phrases"]
    assert len(cars["objects"]) == made.call_count == 1
    assert trees["objects"] == []
    assert "has room for 1 masks" in cars["error"]
    assert "has room for 1 masks" in trees["error"]
    assert "error" not in boats, "nothing is called that"


def test_phrases_after_the_last_new_mask_say_so(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_budget, "DECODES_A_SEARCH", 1)
    status, found = ask(client, image=IMAGE, phrases=["car", "tree"])
    assert status == 200
    cars, trees = found["phrases"]
    assert (len(cars["objects"]), len(trees["objects"])) == (1, 0)
    assert "too many new masks" in cars["error"]
    assert "too many new masks" in trees["error"]
