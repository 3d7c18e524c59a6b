"""A click that a newer one has overtaken stops; another annotator's never does."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from sam_backend.server import create_app
from sam_backend.turns import Turn, Turns
from tests import shades
from tests.held import wait_until

IMAGE = "data:image/png;base64," + base64.b64encode(shades.picture(40)).decode()


@pytest.fixture
def engine() -> shades.FakeEngine:
    return shades.FakeEngine()


@pytest.fixture
def client(tmp_path: Path, engine: shades.FakeEngine) -> FlaskClient:
    services = shades.services(tmp_path, engine)
    begin, begun = services.turns.begin, list[Turn]()

    def counted(place: object, prompt_ids: Iterable[str]) -> Turn:
        begun.append(begin(place, prompt_ids))
        return begun[-1]

    services.turns.begin = counted  # type: ignore[method-assign]
    app = create_app(services.settings, services)
    app.config["turns"] = begun
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

    turns = client.application.config["turns"]
    threads = [threading.Thread(target=send, args=(n,)) for n in range(len(bodies))]
    for n, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(partial(lambda n: len(turns) == n, n))
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


def test_a_click_in_another_worker_overtakes_too(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "turns")
    older, unconcerned = turns.begin(PLACE, ["p1"]), turns.begin(PLACE, ["q1"])
    code = (
        "import sys, pathlib; from sam_backend.turns import Turns;"
        f"Turns(pathlib.Path(sys.argv[1])).begin({PLACE!r}, ['p1', 'p2'])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "turns")]
    subprocess.run(command, check=True, timeout=60, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert turns.is_overtaken(older)
    assert not turns.is_overtaken(unconcerned)


def test_the_newest_is_overtaken_by_none_though_the_clock_began_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(tmp_path / "turns")
    before = turns.begin(PLACE, ["p1"])
    monkeypatch.setattr("time.monotonic_ns", lambda: 0)
    after = turns.begin(PLACE, ["p1", "p2"])
    assert turns.is_overtaken(before)
    assert not turns.is_overtaken(after)


@pytest.mark.parametrize("content", [b"", b"cut", b"\xff" * (1 << 18)])
def test_a_damaged_file_overtakes_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "turns").write_bytes(content)
    turns = Turns(tmp_path / "turns")
    first = turns.begin(PLACE, ["p1"])
    assert not turns.is_overtaken(first)
    turns.begin(PLACE, ["p1"])
    assert turns.is_overtaken(first)


def test_where_no_file_can_be_it_holds_within_a_worker(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "no such folder" / "turns")
    first = turns.begin(PLACE, ["p1"])
    turns.begin(PLACE, ["p1"])
    assert turns.is_overtaken(first)
