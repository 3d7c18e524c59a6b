"""Work that would end too late is refused at once: batches before clicks, and clicks last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from sam_backend.errors import Busy
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import DiscEngine, keypoint, request_body
from tests.held import wait_until

ServicesOf = Callable[..., Services]


class HeldEngine(DiscEngine):
    """Each decode waits for a permission."""

    def __init__(self) -> None:
        self.permissions = threading.Semaphore(0)
        self.decodes = 0

    def decode(self, *inputs: Any, **more: Any) -> Any:
        self.decodes += 1
        self.permissions.acquire(timeout=60)
        return super().decode(*inputs, **more)


def ask(client: FlaskClient, body: object) -> TestResponse:
    return client.post("/predict", json=body)


def test_predictions_of_many_tasks_come_after_clicks_that_wait(services: ServicesOf) -> None:
    engine = HeldEngine()
    app = create_app(*_of(services(engine, THREADS="1")))
    batch = request_body(None)
    batch["tasks"] *= 3

    def send(body: object) -> TestResponse:
        return ask(app.test_client(), body)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(send, request_body([keypoint("a", 50, 50)]))
        wait_until(lambda: engine.decodes == 1)
        refused: Future[TestResponse] = pool.submit(send, batch)
        _wait_for(app, 2)
        second = pool.submit(send, request_body([keypoint("b", 20, 20)]))
        _wait_for(app, 3)
        engine.permissions.release(1)
        assert refused.result().status_code == 503
        assert int(refused.result().headers["Retry-After"]) >= 1
        assert "clicks wait" in refused.result().get_json()["error"]
        engine.permissions.release(1)
        assert first.result().get_json()["results"][0]["result"]
        assert second.result().get_json()["results"][0]["result"]
    assert send(batch).get_json() == {"results": [[]] * 3}


def test_a_click_whose_encode_would_end_too_late_gets_a_503(
    services: ServicesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = services()

    def late(*_of_queue: object) -> None:
        raise Busy("too busy: 4 other clicks have to encode first, which takes 6.5 s", 7)

    client = create_app(*_of(made)).test_client()
    with monkeypatch.context() as patch:
        patch.setattr("sam_backend.shared.scheduling._Queue.refuse_if_late", late)
        response = ask(client, request_body([keypoint("a", 50, 50)]))
        assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
        assert "4 other clicks have to encode first" in response.get_json()["error"]
        assert "busy" in {error["cause"] for error in client.get("/").get_json()["last_errors"]}
        wait_until(lambda: not made.images.prefetcher)  # its image is encoded in a gap
    answer = ask(client, request_body([keypoint("a", 50, 50)])).get_json()
    assert answer["results"][0]["result"]


def _of(made: Services) -> tuple[Any, Services]:
    return made.settings, made


def _wait_for(app: Any, inside: int) -> None:
    text = f'sam_queue_length{{queue="clicks"}} {inside}.0'
    wait_until(lambda: text in app.test_client().get("/metrics").text)
