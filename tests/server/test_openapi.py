"""What /openapi.json says, beside what the service does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jsonschema
import orjson
import pytest
from flask.testing import FlaskClient

from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import SHARED_LABELS, inline, keypoint, picture, request_body, shared_pair

ServicesOf = Callable[..., Services]
Payload = Callable[[str], dict[str, Any]]

FOR_BROWSERS = ("/try", "/docs/")  # the page to try it, and a style sheet


@pytest.fixture
def described(client: FlaskClient) -> dict[str, Any]:
    description: dict[str, Any] = client.get("/openapi.json").get_json()
    return description


def check(described: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    whole = {**schema, "components": described["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def asked(described: dict[str, Any], route: str, body: object) -> None:
    """The body of a request is as the description has it."""
    content = described["paths"][route]["post"]["requestBody"]["content"]["application/json"]
    check(described, content["schema"], body)


def answered(described: dict[str, Any], route: str, method: str, response: Any) -> None:
    """The answer is one that the description has."""
    answer = described["paths"][route][method]["responses"][str(response.status_code)]
    if response.status_code == 204:
        return
    content = answer["content"][response.mimetype]
    check(described, content["schema"], orjson.loads(response.data))


def test_every_route_is_described_and_every_description_is_of_a_route(
    described: dict[str, Any], services: ServicesOf
) -> None:
    made = services()
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in create_app(made.settings, made).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(FOR_BROWSERS)
    }
    named = {(path, method) for path, calls in described["paths"].items() for method in calls}
    assert named == served


def test_schemas_are_schemas(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_password_is_asked_for_where_one_is_set(
    described: dict[str, Any], services: ServicesOf
) -> None:
    assert "securitySchemes" not in described["components"]
    made = services(BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="s3cret")
    client = create_app(made.settings, made).test_client()
    guarded = client.get("/openapi.json", auth=("ann", "s3cret")).get_json()
    unguarded = {
        path
        for path, calls in guarded["paths"].items()
        for call in calls.values()
        if "security" not in call
    }
    assert unguarded == {"/health", "/ready", "/webhook"}
    for path, calls in guarded["paths"].items():
        for method in calls:
            status = client.open(
                path, method=method.upper(), data=b"{}", content_type="application/json"
            ).status_code
            assert (status == 401) == (path not in unguarded)


@pytest.mark.parametrize(
    "name",
    [
        "predict_keypoint",
        "predict_keypoint_and_alt_negative",
        "predict_keypoint_from_draft_lacks_is_positive",
        "predict_rectangle",
        "predict_task_opened_no_context",
        "predict_task_with_annotation_no_context",
        "predict_three_keypoints_with_draft",
        "setup",
        "webhook_annotation_created",
    ],
)
def test_requests_of_a_real_label_studio(
    client: FlaskClient, described: dict[str, Any], payload: Payload, name: str
) -> None:
    body, route = payload(name), "/" + name.partition("_")[0]
    asked(described, route, body)
    if "context" in body.get("params", {}) and body["params"]["context"]:
        body["tasks"][0]["data"]["image"] = inline(picture(2241, 1500))
    answered(described, route, "post", client.post(route, json=body))


def test_answers_are_as_described(client: FlaskClient, described: dict[str, Any]) -> None:
    pair = shared_pair(keypoint("a", 50, 50))
    clicked = client.post("/predict", json=request_body(pair, config=SHARED_LABELS))
    answered(described, "/predict", "post", clicked)
    answered(
        described,
        "/predict",
        "post",
        client.post("/predict", data=b"{", content_type="application/json"),
    )
    client.post("/predict", json=request_body([keypoint("a", 50, 50, label="Boat")]))
    answered(described, "/", "get", client.get("/"))
    for path, calls in described["paths"].items():
        for method in calls:
            response = client.open(
                path, method=method.upper(), data=b"{}", content_type="application/json"
            )
            if "json" in str(response.mimetype):
                answered(described, path, method, response)


def test_answers_to_programs_are_as_described(
    client: FlaskClient, described: dict[str, Any]
) -> None:
    image = client.post("/v1/embed", data=picture(), content_type="image/png")
    answered(described, "/v1/embed", "post", image)
    id_ = image.get_json()["image_id"]
    for form in ("polygon", "rle", "coco_rle", "png", "bitmask"):
        objects = [{"points": [[9, 9]], "labels": [1]}, {"box": [5, 5, 50, 50]}, {}]
        body = {"image_id": id_, "objects": objects, "format": form, "alternatives": 2}
        asked(described, "/v1/segment", body)
        answered(described, "/v1/segment", "post", client.post("/v1/segment", json=body))
    body = {"image_id": id_, "grid": 2, "most": 5, "level": "whole", "min_score": 0.5}
    asked(described, "/v1/everything", body)
    answered(described, "/v1/everything", "post", client.post("/v1/everything", json=body))
    body = {"image": {"url": inline(picture())}, "phrases": ["car", "boat"], "format": "png"}
    asked(described, "/v1/segment-text", body)
    answered(described, "/v1/segment-text", "post", client.post("/v1/segment-text", json=body))
    body = {"image": {"type": "base64", "value": inline(picture())}, "image_id": "mine"}
    for route in ("/sam2/embed_image", "/sam2/segment_image"):
        asked(described, route, body)
        answered(described, route, "post", client.post(route, json=body))
    for _ in range(2):
        path = "/v1/images/{image_id}"
        answered(described, path, "delete", client.delete(f"/v1/images/{id_}"))
