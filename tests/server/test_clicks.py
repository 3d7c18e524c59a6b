"""The answers to clicks, with an engine whose masks are easy to foretell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import (
    BRUSH_LABELS,
    SHARED_LABELS,
    DiscEngine,
    inline,
    keypoint,
    picture,
    rectangle,
    request_body,
    shared_pair,
)
from tests.server.clicks import click, mask_of, post
from tools.quality.engines import Counted

Payload = Callable[[str], dict[str, Any]]


ServicesOf = Callable[..., Services]


def test_a_task_that_is_opened_gets_an_empty_list(client: FlaskClient) -> None:
    """Anything else is logged as an error, or stored as a prediction that hides the task."""
    assert post(client, "/predict", request_body(None)) == {"results": [[]]}


def test_a_batch_gets_as_many_results_as_tasks(client: FlaskClient) -> None:
    body = request_body(None)
    body["tasks"] *= 7
    assert post(client, "/predict", body) == {"results": [[]] * 7}


@pytest.mark.parametrize("params", [None, {}, {"context": None}, {"context": {}}, {"context": []}])
def test_no_context_in_any_form(client: FlaskClient, params: object) -> None:
    assert post(client, "/predict", {**request_body(None), "params": params}) == {"results": [[]]}


def test_a_keypoint_becomes_a_brush_region(client: FlaskClient) -> None:
    answer = click(client, keypoint("a", 50, 50))
    (region,) = answer["result"]
    assert region["type"] == "brushlabels"
    assert (region["from_name"], region["to_name"]) == ("tag", "image")
    assert region["value"]["brushlabels"] == ["Car"]
    assert (region["original_width"], region["original_height"]) == (400, 300)
    assert region["score"] == answer["score"] == pytest.approx(0.9)
    assert answer["model_version"] == "test-model"
    mask = mask_of(region)
    assert mask[150, 200]
    assert not mask[10, 10]


def test_with_shared_labels_the_answer_is_a_pair_of_one_id(client: FlaskClient) -> None:
    brush, label = click(client, *shared_pair(keypoint("a", 50, 50)), config=SHARED_LABELS)[
        "result"
    ]
    assert (brush["type"], brush["from_name"]) == ("brush", "mask")
    assert (label["type"], label["from_name"]) == ("labels", "label")
    assert brush["id"] == label["id"]
    assert label["value"]["labels"] == ["Car"]
    assert label["value"]["rle"] == brush["value"]["rle"]


def test_without_a_chosen_label_shared_labels_answer_with_the_brush_alone(
    client: FlaskClient,
) -> None:
    prompt = shared_pair(keypoint("a", 50, 50))[0]
    (brush,) = click(client, prompt, config=SHARED_LABELS)["result"]
    assert brush["type"] == "brush"


def test_rotation_and_page_are_echoed(client: FlaskClient) -> None:
    config = BRUSH_LABELS.replace('value="$image"', 'valueList="$image"')
    body = request_body([keypoint("a", 50, 50, item_index=1, image_rotation=90)], config=config)
    body["tasks"][0]["data"]["image"] = ["data:nothing", inline(picture())]
    (region,) = post(client, "/predict", body)["results"][0]["result"]
    assert (region["item_index"], region["image_rotation"]) == (1, 90)


def test_the_next_click_replaces_the_mask_in_place(client: FlaskClient) -> None:
    first = click(client, keypoint("a", 50, 50))["result"][0]
    second = click(client, keypoint("a", 50, 50), keypoint("b", 80, 50))["result"][0]
    assert first["id"] == second["id"] == "m-a"
    assert mask_of(second)[150, 320]


def test_alt_cuts(client: FlaskClient) -> None:
    cut = click(client, rectangle("r", 10, 10, 80, 80), keypoint("n", 50, 50, positive=False))
    mask = mask_of(cut["result"][0])
    assert mask[60, 80]
    assert not mask[150, 200]


def test_several_rectangles_give_a_mask_each(client: FlaskClient) -> None:
    left, right = click(
        client, rectangle("left", 10, 10, 20, 20), rectangle("right", 60, 10, 20, 20)
    )["result"]
    assert (left["id"], right["id"]) == ("m-left", "m-right")
    assert mask_of(left)[60, 80]
    assert not mask_of(left)[60, 280]
    assert mask_of(right)[60, 280]


def test_rectangle_and_keypoints_sent_apart_are_one_object(client: FlaskClient) -> None:
    click(client, rectangle("r", 30, 30, 40, 40))
    (region,) = click(client, keypoint("n", 50, 50, positive=False))["result"]
    assert region["id"] == "m-n", "not of a prompt that may be gone: its mask would be overwritten"
    mask = mask_of(region)
    assert mask[95, 125]
    assert not mask[150, 200]


def test_an_empty_context_ends_the_object(client: FlaskClient) -> None:
    """The editor sends it when an annotation is saved with prompts still in it."""
    click(client, rectangle("r", 30, 30, 40, 40))
    assert click(client)["result"] == []
    (region,) = click(client, keypoint("k", 50, 50))["result"]
    assert not mask_of(region)[95, 125]


def test_a_saved_annotation_ends_the_object(client: FlaskClient) -> None:
    click(client, rectangle("r", 30, 30, 40, 40))
    post(client, "/webhook", {"action": "ANNOTATION_CREATED", "task": {"id": 1}})
    (region,) = click(client, keypoint("k", 50, 50))["result"]
    assert not mask_of(region)[95, 125]


@pytest.mark.parametrize("other", [{"task_id": 2}, {"label": "Bike"}])
def test_prompts_are_not_joined_across_tasks_or_labels(
    client: FlaskClient, other: dict[str, Any]
) -> None:
    click(client, rectangle("r", 30, 30, 40, 40))
    label = other.pop("label", "Car")
    (region,) = click(client, keypoint("k", 50, 50, label=label), **other)["result"]
    assert not mask_of(region)[95, 125]


def test_workers_and_restarts_share_what_was_seen(services: ServicesOf) -> None:
    first, second = services(), services()
    click(create_app(first.settings, first).test_client(), rectangle("r", 30, 30, 40, 40))
    other = create_app(second.settings, second).test_client()
    (region,) = click(other, keypoint("n", 50, 50))["result"]
    assert mask_of(region)[95, 125]


def test_projects_with_different_configs_share_a_server(client: FlaskClient) -> None:
    assert click(client, keypoint("a", 50, 50))["result"][0]["type"] == "brushlabels"
    pair = click(client, *shared_pair(keypoint("a", 50, 50)), config=SHARED_LABELS)["result"]
    assert [region["type"] for region in pair] == ["brush", "labels"]
    assert click(client, keypoint("a", 50, 50))["result"][0]["type"] == "brushlabels"


def test_one_image_is_encoded_once(services: ServicesOf) -> None:
    engine = Counted(DiscEngine())
    made = services(engine)
    client = create_app(made.settings, made).test_client()
    for _ in range(3):
        click(client, keypoint("a", 50, 50))
    assert engine.encodes == 1


@pytest.mark.parametrize(
    "name",
    [
        "predict_keypoint",
        "predict_keypoint_and_alt_negative",
        "predict_keypoint_from_draft_lacks_is_positive",
        "predict_rectangle",
        "predict_three_keypoints_with_draft",
    ],
)
def test_requests_of_a_real_label_studio(client: FlaskClient, payload: Payload, name: str) -> None:
    body = payload(name)
    body["tasks"][0]["data"]["image"] = inline(picture(2241, 1500))
    (answer,) = post(client, "/predict", body)["results"]
    (region,) = answer["result"]
    mask = mask_of(region)
    prompts = body["params"]["context"]["result"]
    assert region["id"] == "m-" + prompts[0]["id"]
    for prompt in prompts:
        value = prompt["value"]
        row = round((value["y"] + value.get("height", 0) / 2) * 15)
        column = round((value["x"] + (value["width"] / 2 if "height" in value else 0)) * 22.41)
        assert mask[row, column] == (prompt.get("is_positive") is not False)


def test_a_real_task_with_a_mask_is_opened(client: FlaskClient, payload: Payload) -> None:
    body = payload("predict_task_with_annotation_no_context")
    assert post(client, "/predict", body) == {"results": [[]]}
    assert post(client, "/webhook", payload("webhook_annotation_created")) == {"status": "ok"}
    assert post(client, "/setup", payload("setup")) == {"model_version": "test-model"}
