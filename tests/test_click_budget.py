"""A click's time is limited, however many tasks, objects and prompts it names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask.testing import FlaskClient

from sam_backend import click_budget
from sam_backend.server import create_app
from sam_backend.services import Services
from tests.fakes import DiscEngine, keypoint, rectangle, request_body


class SlowEngine(DiscEngine):
    """Each of its decodes takes a second of a clock that only it moves."""

    now = 0.0
    decoded = 0

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        self.now += 1
        self.decoded += 1
        return super().decode(*args, **kwargs)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SlowEngine:
    engine = SlowEngine()
    clock = type("clock", (), {"monotonic": staticmethod(lambda: engine.now)})
    monkeypatch.setattr(click_budget, "time", clock)
    return engine


@pytest.fixture
def client(services: Callable[..., Services], engine: SlowEngine) -> FlaskClient:
    made = services(engine)
    return create_app(made.settings, made).test_client()


def points(count: int) -> list[dict[str, Any]]:
    return [keypoint(f"k{n}", 20 + n / 2, 50) for n in range(count)]


def boxes(count: int) -> list[dict[str, Any]]:
    return [rectangle(f"r{n}", n / 3, n / 3, 20, 20) for n in range(count)]


@pytest.mark.parametrize("prompts", [points, boxes])
def test_all_that_a_request_asks_shares_one_budget(
    client: FlaskClient, engine: SlowEngine, prompts: Callable[[int], list[dict[str, Any]]]
) -> None:
    body = request_body(prompts(100))
    body["tasks"] = [{**body["tasks"][0], "id": number} for number in range(16)]
    answers = client.post("/predict", json=body).get_json()["results"]
    assert engine.decoded == click_budget.CLICK_SECONDS
    assert [answer["result"] for answer in answers] == [[]] * 16
    (error, *_) = client.get("/").get_json()["last_errors"]
    assert error["message"].startswith("the prompts of this click take too long: accept the masks")


def test_the_next_request_has_its_own(client: FlaskClient) -> None:
    ask = partial(client.post, "/predict")
    assert ask(json=request_body(points(100))).get_json()["results"][0]["result"] == []
    assert len(ask(json=request_body(boxes(3))).get_json()["results"][0]["result"]) == 3


def test_waiting_for_an_image_costs_nothing(client: FlaskClient, engine: SlowEngine) -> None:
    encode = engine.encode

    def slowly(image: Any) -> Any:
        engine.now += 60
        return encode(image)

    engine.encode = slowly  # type: ignore[method-assign]
    answer = client.post("/predict", json=request_body(points(3))).get_json()
    assert len(answer["results"][0]["result"]) == 1
