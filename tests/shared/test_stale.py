"""A click that a newer one has overtaken stops; another annotator's never does."""

from __future__ import annotations

import base64
import threading
from collections.abc import Hashable, Iterable
from functools import partial
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from sam_backend.server.app import create_app
from sam_backend.shared.click_memory import Click, LatestClicks
from tests import shades
from tests.held import wait_until

IMAGE = "data:image/png;base64," + base64.b64encode(shades.picture(40)).decode()


@pytest.fixture
def engine() -> shades.FakeEngine:
    return shades.FakeEngine()


@pytest.fixture
def client(tmp_path: Path, engine: shades.FakeEngine) -> FlaskClient:
    services = shades.services(tmp_path, engine)
    begin, begun = services.memory.latest.begin, list[Click]()

    def counted(place: Hashable, prompt_ids: Iterable[str]) -> Click:
        begun.append(begin(place, prompt_ids))
        return begun[-1]

    services.memory.latest.begin = counted  # type: ignore[method-assign]
    app = create_app(services.settings, services)
    app.config.update(clicks=begun, latest=services.memory.latest)
    return app.test_client()


def answers(
    client: FlaskClient, engine: shades.FakeEngine, bodies: list[dict[str, object]]
) -> list[int]:
    """How many regions each of these gets, sent one after the other while the encoder is busy."""
    go, waiting = threading.Event(), list[None]()

    def encode() -> None:
        waiting.append(None)
        assert go.wait(30)

    engine.before_encode = encode
    regions = [-1] * len(bodies)

    def send(n: int) -> None:
        response = client.application.test_client().post("/predict", json=bodies[n])
        assert response.json is not None
        assert response.status_code == 200
        regions[n] = len(response.json["results"][0]["result"])

    clicks = client.application.config["clicks"]
    threads = [threading.Thread(target=send, args=(n,)) for n in range(len(bodies))]
    for n, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(partial(lambda n: len(clicks) == n, n))
    wait_until(lambda: waiting)
    go.set()
    for thread in threads:
        thread.join()
    return regions


def test_the_older_click_stops_before_its_decode(
    client: FlaskClient, engine: shades.FakeEngine
) -> None:
    first, second = shades.keypoint("p1", 50, 50), shades.keypoint("p2", 60, 50)
    bodies = [shades.click(1, IMAGE, first), shades.click(1, IMAGE, first, second)]
    decoding = set[int]()
    engine.before_decode = lambda: decoding.add(threading.get_ident())
    assert answers(client, engine, bodies) == [0, 1]
    assert len(decoding) == 1


def test_the_older_click_stops_before_it_takes_a_mask_from_the_memory(
    client: FlaskClient, engine: shades.FakeEngine
) -> None:
    """The newer click may end first, and the masks of its first prompt are those of the older."""
    first, second = shades.keypoint("p1", 50, 50), shades.keypoint("p2", 60, 50)
    client.post("/predict", json=shades.click(1, IMAGE, first))
    latest = client.application.config["latest"]
    overtaken = latest.is_overtaken

    def newer_first(click: Click) -> object:
        latest.is_overtaken = overtaken
        client.application.test_client().post(
            "/predict", json=shades.click(1, IMAGE, first, second)
        )
        return overtaken(click)

    latest.is_overtaken = newer_first
    answer = client.post("/predict", json=shades.click(1, IMAGE, first)).json
    assert answer is not None
    assert answer["results"][0]["result"] == []


def test_another_annotator_in_the_same_task(client: FlaskClient, engine: shades.FakeEngine) -> None:
    mine, theirs = shades.keypoint("p1", 50, 50), shades.keypoint("q1", 60, 50)
    bodies = [shades.click(1, IMAGE, mine), shades.click(1, IMAGE, theirs)]
    assert answers(client, engine, bodies) == [1, 1]


def test_another_task(client: FlaskClient, engine: shades.FakeEngine) -> None:
    prompt = shades.keypoint("p1", 50, 50)
    bodies = [shades.click(1, IMAGE, prompt), shades.click(2, IMAGE, prompt)]
    assert answers(client, engine, bodies) == [1, 1]


def test_a_stale_click_is_no_error(client: FlaskClient, engine: shades.FakeEngine) -> None:
    prompt = shades.keypoint("p1", 50, 50)
    answers(client, engine, [shades.click(1, IMAGE, prompt)] * 3)
    report = client.get("/", headers={"Accept": "application/json"}).json
    assert report is not None
    assert report["last_errors"] == []


PLACE = ("1", "7", "image")


def test_a_click_is_overtaken_by_the_next_one_with_its_prompt_only() -> None:
    clicks = LatestClicks()
    older, unconcerned = clicks.begin(PLACE, ["p1"]), clicks.begin(PLACE, ["q1"])
    newer = clicks.begin(PLACE, ["p1", "p2"])
    assert clicks.is_overtaken(older)
    assert not clicks.is_overtaken(unconcerned)
    assert not clicks.is_overtaken(newer)


def test_the_memory_of_clicks_is_bounded() -> None:
    clicks = LatestClicks()
    first = clicks.begin(PLACE, ["p1"])
    clicks.begin(PLACE, (f"q{n}" for n in range(1 << 15)))
    clicks.begin(PLACE, ["p2"])
    assert not clicks.is_overtaken(first)
    assert len(clicks._latest) == 1 << 14
