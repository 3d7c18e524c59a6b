"""How much may be asked at once, and what an unsigned webhook can do at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from flask.testing import FlaskClient

from sam_backend.clicks.click_prompts import MAX_PROMPTS
from sam_backend.formats import rle
from sam_backend.server import admission, prediction_request
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import keypoint, rectangle, request_body

JSON = "application/json"

ServicesOf = Callable[..., Services]


def errors(client: FlaskClient) -> list[str]:
    return [error["message"] for error in client.get("/").get_json()["last_errors"]]


def mask_at(answer: Any, row: int, column: int) -> bool:
    (region,) = answer["results"][0]["result"]
    return bool(rle.decode(region["value"]["rle"], 300, 400)[row, column])


def test_a_body_over_the_limit(services: ServicesOf) -> None:
    made = services(MAX_BODY_MB="1")
    client = create_app(made.settings, made).test_client()
    response = client.post("/predict", data=b" " * (1 << 20) + b"{}", content_type=JSON)
    assert response.status_code == 413
    assert "over 1 MB: MAX_BODY_MB" in response.get_json()["error"]
    assert errors(client) == [response.get_json()["error"]]
    assert client.post("/predict", json=request_body([keypoint("a", 50, 50)])).status_code == 200


def test_a_task_with_a_hundred_large_brush_masks_is_within_the_limits(client: FlaskClient) -> None:
    """In the draft and in the annotation, each once for every control, of 24 megapixels."""
    rows, columns = np.mgrid[:4000, :6000]
    wavy = np.hypot(rows - 2000, columns - 3000) < 1800 + 50 * np.sin(rows / 9)
    numbers = rle.encode(wavy)
    value = {"format": "rle", "rle": numbers, "brushlabels": ["Car"]}
    size = {"original_width": 6000, "original_height": 4000}
    masks = [
        {"id": f"m{n}", "type": "brushlabels", "from_name": "tag", "to_name": "image", **size}
        for n in range(100)
    ] * 2
    body = request_body(None)
    result = orjson.dumps([{**mask, "value": "HERE"} for mask in masks])
    result = result.replace(b'"HERE"', orjson.dumps(value))
    body["tasks"][0] |= {"annotations": "A", "drafts": "D"}
    saved = b'[{"id": 1, "result": ' + result + b"}]"
    sent = orjson.dumps(body).replace(b'"A"', saved).replace(b'"D"', saved)
    assert len(sent) < client.application.config["MAX_CONTENT_LENGTH"]
    assert len(result) < admission.MAX_OTHER_BODY_MB << 20
    assert client.post("/predict", data=sent, content_type=JSON).status_code == 200


def test_all_tasks_of_a_large_project_in_one_request(client: FlaskClient) -> None:
    body = request_body(None, image="x")
    body["tasks"] *= prediction_request.MAX_TASKS
    assert (
        len(client.post("/predict", json=body).get_json()["results"])
        == prediction_request.MAX_TASKS
    )
    body["tasks"] += body["tasks"][:1]
    response = client.post("/predict", json=body)
    assert response.status_code == 413
    assert "100001 tasks in one request" in response.get_json()["error"]


def test_a_click_in_many_tasks(client: FlaskClient) -> None:
    body = request_body([keypoint("a", 50, 50)])
    body["tasks"] *= prediction_request.MAX_TASKS_CLICKED + 1
    assert client.post("/predict", json=body).status_code == 413
    assert "tasks in one request" in errors(client)[0]


def test_too_many_prompts_in_a_click(client: FlaskClient) -> None:
    prompts = [keypoint(f"p{n}", 50, 50) for n in range(MAX_PROMPTS + 1)]
    answer = client.post("/predict", json=request_body(prompts)).get_json()
    assert answer["results"][0]["result"] == []
    assert errors(client)[0].startswith("201 prompts in one click are over the limit of 200")
    assert mask_at(client.post("/predict", json=request_body(prompts[:3])).get_json(), 150, 200)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400, "NaN", "Infinity"])
def test_numbers_that_are_none(client: FlaskClient, number: str) -> None:
    body = orjson.dumps(request_body([keypoint("a", 50, 50)])).replace(b'"x":50', b'"x":' + b"%")
    response = client.post("/predict", data=body.replace(b"%", number.encode()), content_type=JSON)
    assert response.status_code in (200, 400)
    assert client.post("/predict", json=request_body([keypoint("b", 50, 50)])).status_code == 200


def test_a_webhook_is_small(client: FlaskClient) -> None:
    large = b'{"action": "' + b"x" * (admission.MAX_OTHER_BODY_MB << 20) + b'"}'
    response = client.post("/webhook", data=large, content_type=JSON)
    assert response.status_code == 413
    assert "over 64 MB" in response.get_json()["error"]


def test_a_forged_webhook_costs_the_joining_of_two_kinds_of_prompts_and_no_more(
    client: FlaskClient,
) -> None:
    forged = {"action": "ANNOTATIONS_DELETED", "task": {"id": 1}}
    both = [keypoint("a", 50, 50), keypoint("b", 80, 50)]

    client.post("/predict", json=request_body(both[:1]))
    assert client.post("/webhook", json=forged).status_code == 200
    answer = client.post("/predict", json=request_body(both)).get_json()
    assert mask_at(answer, 150, 200), "what the editor shows comes with each click"
    assert mask_at(answer, 150, 320)

    box = rectangle("r", 10, 10, 80, 80)
    cut = keypoint("n", 50, 50, positive=False)
    client.post("/predict", json=request_body([box]))
    assert client.post("/webhook", json=forged).status_code == 200
    answer = client.post("/predict", json=request_body([cut])).get_json()
    assert answer["results"][0]["result"] == []
    assert "only negative keypoints" in errors(client)[0]


@pytest.mark.parametrize(
    "part",
    [
        {"original_width": "9" * 30},
        {"original_height": 1e300},
        {"original_width": "inf"},
        {"item_index": "9" * 30},
        {"item_index": -1},
        {"image_rotation": "nan"},
    ],
)
def test_an_image_that_cannot_be(client: FlaskClient, part: dict[str, Any]) -> None:
    prompt = {**keypoint("a", 50, 50), **part}
    answer = client.post("/predict", json=request_body([prompt])).get_json()
    assert answer["results"][0]["result"] == []
    assert errors(client)[0].startswith(("the prompt is incomplete", "the size", "the page"))
