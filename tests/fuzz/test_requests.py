"""Requests that are nearly right, and requests that are not: an answer or a clear no, each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
import schemathesis
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import checks as known
from schemathesis.core.result import Ok

from sam_backend.formats import rle
from tests import fakes
from tests.fuzz import junk
from tests.fuzz.conftest import tries

Count = Callable[[str], None]
Check = Callable[[], None]

_WIDTH, _HEIGHT = 40, 30
_SIZE: dict[str, Any] = {"original_width": _WIDTH, "original_height": _HEIGHT}
_IMAGE = fakes.inline(fakes.picture(_WIDTH, _HEIGHT))


def _saved() -> dict[str, Any]:
    """A draft with a mask of each form in it."""
    disc = np.zeros((_HEIGHT, _WIDTH), bool)
    disc[10:20, 10:20] = True
    common = {"from_name": "tag", "to_name": "image", **_SIZE}
    label = {"labels": ["Car"], "brushlabels": ["Car"], "polygonlabels": ["Car"]}
    brush = {"format": "rle", "rle": rle.encode(disc), **label}
    outline = {"points": [[10, 10], [60, 10], [60, 60]], "closed": True, **label}
    bitmap = {"imageDataURL": _IMAGE, "bitmasklabels": ["Car"]}
    return {
        "id": 3,
        "updated_at": "2026-01-01T00:00:00Z",
        "result": [
            {"id": "m-a", "type": "brushlabels", "value": brush, **common},
            {"id": "b", "type": "polygonlabels", "value": outline, **common},
            {"id": "c", "type": "bitmasklabels", "value": bitmap, **common},
            fakes.keypoint("d", 30, 30, **_SIZE),
        ],
    }


_CLICK = fakes.request_body(
    [
        fakes.keypoint("a", 50, 50, **_SIZE),
        fakes.keypoint("n", 20, 20, positive=False, **_SIZE),
        fakes.rectangle("r", 10, 10, 50, 50, rotation=10, **_SIZE),
    ],
    image=_IMAGE,
    drafts=[_saved()],
)
_OPENED = fakes.request_body(None, image=_IMAGE)  # a task that is opened comes without drafts
_OPENED["tasks"][0]["annotations"] = [_saved()]
_SETUP = {
    "project": "1.2",
    "schema": fakes.SHARED_LABELS,
    "hostname": "http://127.0.0.1:9",
    "access_token": "0" * 40,
    "extra_params": {"sam_output": "tag", "candidates": 2},
}
_SEGMENT = {
    "image": {"base64": _IMAGE.partition(",")[2]},
    "objects": [{"points": [[20, 15], [5, 5]], "labels": [1, 0]}, {"box": [5, 5, 30, 20]}],
    "format": "coco_rle",
    "tolerance": 1.0,
    "alternatives": 2,
}
_ROBOFLOW = {
    "image": {"type": "base64", "value": _IMAGE},
    "image_id": "a",
    "prompts": {
        "prompts": [
            {"points": [{"x": 20, "y": 15, "positive": True}]},
            {"box": {"x": 20, "y": 15, "width": 10, "height": 10}},
        ]
    },
    "format": "json",
}
_WEBHOOK = {"action": "ANNOTATION_UPDATED", "task": {"id": 1}, "annotation": _saved()}


def _post(app: Flask, route: str, body: bytes, check: Check) -> Any:
    response = app.test_client().post(route, data=body, content_type="application/json")
    check()
    answer = orjson.loads(response.data)
    if route.startswith(("/v1", "/sam2")):
        assert response.status_code in (200, 400, 404, 413, 422), response.text
        assert response.status_code == 200 or answer["status"] == response.status_code
        return answer
    assert response.status_code in (200, 400, 413), response.text
    if response.status_code != 200:
        assert set(answer) == {"error"}
    return answer


@tries(2500)
@given(body=junk.damaged(_CLICK))
def test_clicks(app: Flask, tried: Count, tracebacks: Check, body: Any) -> None:
    tried("clicks")
    answer = _post(app, "/predict", json.dumps(body).encode(), tracebacks)
    if "results" in answer:
        assert len(answer["results"]) == len(body["tasks"])


@tries(1200)
@given(result=st.lists(junk.damaged(fakes.keypoint("a", 50, 50, **_SIZE)), max_size=3))
def test_contexts(app: Flask, tried: Count, tracebacks: Check, result: Any) -> None:
    tried("contexts")
    body = fakes.request_body(result, image=_IMAGE)
    _post(app, "/predict", json.dumps(body).encode(), tracebacks)


@tries(800)
@given(body=junk.damaged(_OPENED))
def test_tasks_opened(app: Flask, tried: Count, tracebacks: Check, body: Any) -> None:
    tried("tasks opened")
    _post(app, "/predict", json.dumps(body).encode(), tracebacks)


@pytest.mark.parametrize(
    ("route", "real"), [("/v1/segment", _SEGMENT), ("/sam2/segment_image", _ROBOFLOW)]
)
@tries(800)
@given(data=st.data())
def test_requests_of_programs(
    app: Flask, tried: Count, tracebacks: Check, data: st.DataObject, route: str, real: Any
) -> None:
    tried("requests of programs")
    body = data.draw(junk.damaged(real))
    _post(app, route, json.dumps(body).encode(), tracebacks)


@pytest.mark.parametrize(("route", "real"), [("/setup", _SETUP), ("/webhook", _WEBHOOK)])
@tries(800)
@given(data=st.data())
def test_setups_and_webhooks(
    app: Flask, tried: Count, tracebacks: Check, data: st.DataObject, route: str, real: Any
) -> None:
    tried("setups and webhooks")
    body = data.draw(junk.damaged(real))
    _post(app, route, json.dumps(body).encode(), tracebacks)


@pytest.mark.parametrize(
    "route",
    [
        "/predict",
        "/setup",
        "/webhook",
        "/validate",
        "/v1/embed",
        "/v1/segment",
        "/v1/everything",
        "/v1/find-similar",
        "/v1/segment-text",
        "/sam2/embed_image",
        "/sam2/segment_image",
    ],
)
@tries(250)
@given(body=st.binary(max_size=200) | junk.values.map(lambda value: json.dumps(value).encode()))
def test_bodies(app: Flask, tried: Count, tracebacks: Check, route: str, body: bytes) -> None:
    tried("bodies")
    _post(app, route, body, tracebacks)


_PLACES: list[tuple[str, dict[str, Any]]] = [
    ("/predict", {**_CLICK, "project": "HERE"}),
    ("/predict", {**_CLICK, "params": "HERE"}),
    ("/predict", {**_CLICK, "label_config": "HERE"}),
    ("/predict", {**_CLICK, "tasks": [{**_CLICK["tasks"][0], "id": "HERE"}]}),
    ("/predict", {**_CLICK, "tasks": [{**_CLICK["tasks"][0], "data": "HERE"}]}),
    ("/predict", {**_CLICK, "tasks": [{**_CLICK["tasks"][0], "drafts": [{"id": "HERE"}]}]}),
    ("/predict", {**_CLICK, "params": {"context": {"result": [{"id": "HERE"}]}}}),
    ("/setup", {**_SETUP, "project": "HERE"}),
    ("/setup", {**_SETUP, "schema": "HERE"}),
    ("/setup", {**_SETUP, "hostname": "HERE"}),
    ("/setup", {**_SETUP, "access_token": "HERE"}),
    ("/setup", {**_SETUP, "extra_params": {"candidates": "HERE"}}),
    ("/webhook", {**_WEBHOOK, "action": "HERE"}),
    ("/webhook", {**_WEBHOOK, "task": {"id": "HERE"}}),
    ("/validate", {"config": "HERE"}),
    *(("/v1/segment", {**_SEGMENT, name: "HERE"}) for name in ("objects", "points", "image")),
    ("/sam2/segment_image", {"image": "HERE"}),
    ("/sam2/segment_image", {**_ROBOFLOW, "prompts": {"prompts": "HERE"}}),
]


@pytest.mark.parametrize("depth", [100, 250, 260, 900, 1100, 100_000])
@pytest.mark.parametrize("place", range(len(_PLACES)))
def test_nests(app: Flask, tried: Count, tracebacks: Check, depth: int, place: int) -> None:
    tried("nests")
    route, body = _PLACES[place]
    nest = b"[" * depth + b"]" * depth
    _post(app, route, json.dumps(body).encode().replace(b'"HERE"', nest), tracebacks)


_CHECKS = [
    known.not_a_server_error,
    known.status_code_conformance,
    known.content_type_conformance,
    known.response_headers_conformance,
    known.response_schema_conformance,
    known.unsupported_method,
]


def test_the_description_of_the_service(app: Flask, tried: Count, tracebacks: Check) -> None:
    """Every answer has a status, a type and a form that /openapi.json names."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]

    for operation in operations:

        @tries(100)
        @given(case=operation.as_strategy())
        def try_it(case: schemathesis.Case[Any]) -> None:
            tried("cases of schemathesis")
            case.call_and_validate(checks=_CHECKS)
            tracebacks()

        try_it()
