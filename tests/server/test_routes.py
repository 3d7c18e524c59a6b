"""Label Studio's calls and their answers, with an engine whose masks are easy to foretell."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest
from flask.testing import FlaskClient

from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats import rle
from sam_backend.formats.pictures import Pixels
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

JSON = "application/json"

Payload = Callable[[str], dict[str, Any]]
ServicesOf = Callable[..., Services]


def post(client: FlaskClient, route: str, body: object) -> Any:
    response = client.post(route, data=orjson.dumps(body), content_type=JSON)
    assert response.status_code == 200, response.text
    return orjson.loads(response.data)


def click(client: FlaskClient, *context: dict[str, Any], **more: Any) -> Any:
    """The answer to a click: a dict, as the editor needs it, also when there is no mask."""
    (answer,) = post(client, "/predict", request_body(context, **more))["results"]
    assert set(answer) == {"result", "score", "model_version"}
    return answer


def mask_of(region: dict[str, Any]) -> npt.NDArray[np.bool_]:
    value = region["value"]
    assert value["format"] == "rle"
    return rle.decode(value["rle"], region["original_height"], region["original_width"])


def errors(client: FlaskClient) -> list[str]:
    return [error["message"] for error in client.get("/").get_json()["last_errors"]]


def test_health_and_setup_answer_while_the_model_is_loading(services: ServicesOf) -> None:
    opened = threading.Event()

    def open_slowly() -> Engine:
        opened.wait(30)
        return DiscEngine()

    made = services()
    slow = Services(made.settings, "test-model", open_slowly)
    client = create_app(slow.settings, slow).test_client()
    assert client.get("/health").get_json()["status"] == "UP"
    setup = {"project": "1.2", "schema": BRUSH_LABELS, "hostname": "http://studio.example"}
    assert post(client, "/setup", setup) == {"model_version": "test-model"}
    assert client.get("/").get_json()["engine"] == "loading"
    opened.set()
    assert click(client, keypoint("a", 50, 50))["result"]
    assert client.get("/").get_json()["engine"] == "ready"


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
    class Counting(DiscEngine):
        encoded = 0

        def encode(self, image: Pixels) -> Embedding:
            self.encoded += 1
            return super().encode(image)

    engine = Counting()
    made = services(engine)
    client = create_app(made.settings, made).test_client()
    for _ in range(3):
        click(client, keypoint("a", 50, 50))
    assert engine.encoded == 1


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


def test_a_refusal_is_one_log_line_an_empty_answer_and_a_line_to_read_later(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="sam_backend"):
        assert click(client, keypoint("a", 50, 50, original_width=401))["result"] == []
    (record,) = caplog.records
    assert record.getMessage() == (
        "task 1: the image is 400x300 pixels here, but 401x300 in the browser: "
        "a mask would be shifted"
    )
    assert errors(client) == [record.getMessage().removeprefix("task 1: ")]


@pytest.mark.parametrize(
    ("context", "more", "message"),
    [
        ([keypoint("a", 5, 5, label="Boat")], {}, "label 'Boat' of the prompt is missing"),
        ([keypoint("a", 5, 5, to_name="other")], {}, "no control on image 'other'"),
        ([keypoint("a", 5, 5)], {"config": "<View"}, "not readable XML"),
        ([keypoint("a", 5, 5)], {"image": "/data/upload/1/a.jpg"}, "set LABEL_STUDIO_URL"),
        ([keypoint("a", 5, 5)], {"image": inline(b"junk")}, "not an image of a known format"),
        ([keypoint("a", 5, 5, positive=False)], {}, "only negative keypoints"),
        ([{**keypoint("a", 5, 5), "value": {"x": 5}}], {}, "the prompt is incomplete"),
    ],
)
def test_a_refusal_says_why(
    client: FlaskClient, context: list[dict[str, Any]], more: dict[str, Any], message: str
) -> None:
    assert click(client, *context, **more)["result"] == []
    assert message in errors(client)[0]
    assert click(client, keypoint("b", 50, 50))["result"], "the next request is not harmed"


def test_a_mask_of_nothing_is_no_region(services: ServicesOf) -> None:
    class Blind(DiscEngine):
        def decode(self, *args: Any, **kwargs: Any) -> Any:
            logits, scores = super().decode(*args, **kwargs)
            return np.full_like(logits, -1), scores

    made = services(Blind())
    client = create_app(made.settings, made).test_client()
    assert click(client, rectangle("a", 30, 30, 40, 40))["result"] == []
    assert "finds no object there" in errors(client)[0]


def test_a_fault_of_ours_shows_no_traceback(services: ServicesOf) -> None:
    class Broken(DiscEngine):
        def decode(self, *_args: Any, **_kwargs: Any) -> Any:
            raise MemoryError("out of arena")

    made = services(Broken())
    client = create_app(made.settings, made).test_client()
    response = client.post("/predict", json=request_body([keypoint("a", 5, 5)]))
    assert response.get_json()["results"][0]["result"] == []
    assert "Traceback" not in response.text
    assert "MemoryError" in errors(client)[0]


def test_a_state_file_that_cannot_be_written_costs_nobody_a_mask(services: ServicesOf) -> None:
    made = services()
    client = create_app(made.settings, made).test_client()
    made.state.path.write_bytes(b"not a database any more, " * 400)
    assert click(client, keypoint("a", 50, 50))["result"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"tasks": 1}', b'{"tasks": [1]}', b"{}", b"\xff"]
)
def test_bodies_that_make_no_sense_are_refused_in_one_line(
    client: FlaskClient, body: bytes
) -> None:
    response = client.post("/predict", data=body, content_type=JSON)
    assert response.status_code == 400
    assert set(response.get_json()) == {"error"}


def test_unknown_routes_and_methods_answer_in_json(client: FlaskClient) -> None:
    assert client.get("/nowhere").get_json().keys() == {"error"}
    assert client.get("/predict").status_code == 405


def test_the_other_calls(client: FlaskClient) -> None:
    assert client.get("/versions").get_json() == {"versions": ["test-model"]}
    assert post(client, "/validate", {"config": BRUSH_LABELS}) == {"status": "ok", "problems": []}
    assert post(client, "/validate", {"config": "<View/>"})["status"] == "failed"
    for route in ("/train", "/delete", "/duplicate_model", "/job_status"):
        post(client, route, {"project": "1.2"})
        assert client.post(route).status_code == 200, "Label Studio may send no body"


def test_setup_says_in_the_log_and_on_the_page_why_a_config_cannot_work(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="sam_backend"):
        post(client, "/setup", {"project": "1.2", "schema": "<View/>"})
        post(client, "/setup", {"project": "1.2", "schema": "<View/>"})  # it comes again and again
    assert "project 1.2: there is no <Image> tag" in caplog.text
    assert errors(client).count("there is no <Image> tag") == 1


def test_the_status_page_is_for_people_and_for_programs(client: FlaskClient) -> None:
    click(client, keypoint("a", 5, 5, label="<script>"))
    page = client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.mimetype == "text/html"
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    status = client.get("/", headers={"Accept": "application/json"}).get_json()
    assert status["model_version"] == "test-model"
    assert status["cache"]["images"] == 0


def test_metrics_count_requests_stages_and_refusals(client: FlaskClient) -> None:
    click(client, keypoint("a", 50, 50))
    click(client, keypoint("a", 5, 5, label="Boat"))
    text = client.get("/metrics").text
    assert 'sam_request_seconds_count{route="/predict"}' in text
    assert 'sam_stage_seconds_count{stage="decode"}' in text
    assert 'sam_refusals_total{cause="config"}' in text


def test_basic_authentication_guards_all_but_health_and_webhook(services: ServicesOf) -> None:
    made = services(BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="s3cret")
    client = create_app(made.settings, made).test_client()
    assert client.get("/health").status_code == 200
    assert post(client, "/webhook", {"action": "TASKS_CREATED"}) == {"status": "ok"}
    for route in ("/", "/metrics", "/versions"):
        assert client.get(route).status_code == 401
    refused = client.post("/predict", json=request_body(None))
    assert refused.status_code == 401
    assert "Basic" in refused.headers["WWW-Authenticate"]
    for pair, status in (("ann:s3cret", 200), ("ann:wrong", 401), ("bob:s3cret", 401)):
        header = "Basic " + base64.b64encode(pair.encode()).decode()
        assert client.get("/", headers={"Authorization": header}).status_code == status
    assert client.get("/", headers={"Authorization": "Bearer x"}).status_code == 401


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
@pytest.mark.parametrize("route", ["/setup", "/predict", "/webhook", "/validate", "/train"])
def test_a_body_that_is_not_said_to_be_json_is_refused(
    client: FlaskClient, route: str, content_type: str | None
) -> None:
    response = client.post(route, data=b'{"project": "1.2"}', content_type=content_type)
    assert response.status_code == 415
    assert response.get_json() == {"error": "the request's Content-Type is not application/json"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost"}, 403),  # the name of this server, or so the page made it
        ({"Sec-Fetch-Site": "same-origin"}, 403),
        ({"Origin": "http://evil.example", "Host": "evil.example"}, 403),
        ({}, 200),
    ],
)
@pytest.mark.parametrize("route", ["/setup", "/webhook", "/train"])
def test_web_pages_are_refused(
    client: FlaskClient, route: str, headers: dict[str, str], status: int
) -> None:
    response = client.post(route, json={"project": "1.2"}, headers=headers)
    assert response.status_code == status
    assert client.post(route, headers=headers).status_code in (status, 400), "without a body too"
