"""Label Studio's calls and their answers: errors, refusals, and who may send them."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from sam_backend.engines.protocol import Engine
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import (
    BRUSH_LABELS,
    DiscEngine,
    inline,
    keypoint,
    rectangle,
    request_body,
)
from tests.server.clicks import JSON, click, errors, post

Payload = Callable[[str], dict[str, Any]]


ServicesOf = Callable[..., Services]


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
    assert client.get("/ready").status_code == 503
    opened.set()
    assert click(client, keypoint("a", 50, 50))["result"]
    assert client.get("/").get_json()["engine"] == "ready"
    assert client.get("/ready").status_code == 200


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


def test_basic_authentication_guards_all_but_probes_and_webhook(services: ServicesOf) -> None:
    made = services(BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="s3cret")
    client = create_app(made.settings, made).test_client()
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code in (200, 503)
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
