"""A model's extra params: what can be used is, and what cannot is said and costs nobody a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from sam_backend.clicks import extra_params, label_config
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import BRUSH_LABELS, keypoint, request_body

CONFIG = label_config.parse(BRUSH_LABELS)
WRONG = [
    {"candidates": "9"},
    {"candidates": 0},
    {"candidates": []},
    {"candidates": {"a": 1}},
    {"sam_output": "nowhere"},
    {"sam_output": "tag2"},
    {"sam_output": 7},
    {"colour": "red"},
]


@pytest.mark.parametrize("given", [None, "", " ", {}, {"candidates": 2}, '{"sam_output": "tag"}'])
def test_usable_extra_params(given: object) -> None:
    _, problem = extra_params.read(given, CONFIG)
    assert problem is None


def test_each_is_judged_alone() -> None:
    params, problem = extra_params.read({"candidates": "9", "sam_output": "tag", "a": 1}, CONFIG)
    assert params == {"sam_output": "tag"}
    assert problem == (
        "the model's extra params are ignored in part: "
        "'candidates': '9' (it can be 1, 2 or 3) and 1 more"
    )


@pytest.mark.parametrize("given", ["{", "[]", "3", [1], 5, "x" * 100_000, {"x" * 100_000: "y"}])
def test_nonsense_is_reported_in_one_short_line(given: object) -> None:
    params, problem = extra_params.read(given, CONFIG)
    assert params == {}
    assert problem is not None
    assert len(problem) < 300
    assert "\n" not in problem


@pytest.mark.parametrize("extra", WRONG)
def test_wrong_ones_are_on_the_page_and_clicks_go_on(
    client: FlaskClient, extra: dict[str, Any]
) -> None:
    body = request_body([keypoint("a", 50, 50)])
    setup = {"project": body["project"], "schema": BRUSH_LABELS, "extra_params": extra}
    assert client.post("/setup", json=setup).status_code == 200
    (error,) = client.get("/").get_json()["last_errors"]
    assert error["message"].startswith("the model's extra params are ignored in part: ")
    assert client.post("/predict", json=body).get_json()["results"][0]["result"]


@pytest.mark.parametrize("extra", WRONG)
def test_wrong_ones_that_were_stored_before_break_no_click(
    services: Callable[..., Services], extra: dict[str, Any]
) -> None:
    made, body = services(), request_body([keypoint("a", 50, 50)])
    made.state.remember_setup(body["project"], None, extra)
    client = create_app(made.settings, made).test_client()
    assert client.post("/predict", json=body).get_json()["results"][0]["result"]
    assert client.get("/").get_json()["last_errors"] == []
