"""Clicks on one task that different machines answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from sam_backend.machines.common_store import CommonStore
from sam_backend.machines.sealed import seal
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.settings import Settings
from sam_backend.shared import tasks_of_machines
from sam_backend.shared.tasks_of_machines import TasksOfMachines
from tests.fakes import BRUSH_LABELS, DiscEngine, inline, keypoint, picture, rectangle, request_body
from tests.held import wait_until
from tools.soak.redis_server import RedisServer

IMAGE = inline(picture())
BOX = rectangle("box", 20, 20, 40, 40)
POINT = keypoint("point", 40, 40)
OUTLINE = '<PolygonLabels name="outline" toName="image"><Label value="Car"/></PolygonLabels>'
CONFIG = BRUSH_LABELS.replace("</View>", f"{OUTLINE}</View>")
PROJECT = "1.1795243155"


class Machine:
    """A back end with files of its own, around an engine that draws discs and boxes."""

    def __init__(self, folder: Path, url: str | None) -> None:
        environ = {"MODEL_DIR": str(folder), "LABEL_STUDIO_URL": "http://studio.example"}
        if url is not None:
            environ["CACHE_URL"] = url
        settings = Settings.from_environment(environ)
        self.services = Services(settings, "test-model", DiscEngine)
        self._client: FlaskClient = create_app(settings, self.services).test_client()

    def post(self, path: str, body: object) -> Any:
        return self._client.post(path, json=body).json

    def click(self, *prompts: dict[str, Any]) -> list[dict[str, Any]]:
        found = self.post("/predict", request_body(prompts, CONFIG, IMAGE))
        regions: list[dict[str, Any]] = found["results"][0]["result"]
        return regions

    def mask(self, *prompts: dict[str, Any]) -> object:
        (region,) = self.click(*prompts)
        return region["value"]["rle"]

    def setup(self, extra_params: object) -> None:
        body = {"project": PROJECT, "schema": CONFIG, "extra_params": extra_params}
        self.post("/setup", body | {"hostname": "http://studio.example", "access_token": "t0ken"})


@pytest.fixture
def machines(tmp_path: Path, server: RedisServer) -> Iterator[list[Machine]]:
    found = [Machine(tmp_path / str(number), server.url) for number in range(2)]
    yield found
    for machine in found:
        store = machine.services.common_store
        assert isinstance(store, CommonStore)
        store.close()


@pytest.fixture
def alone(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "alone", None)


def test_a_keypoint_belongs_to_the_rectangle_that_another_machine_answered(
    machines: list[Machine], alone: Machine
) -> None:
    machines[0].click(BOX)
    found = machines[1].mask(POINT)
    only = alone.mask(POINT)
    alone.click(BOX)
    assert found == alone.mask(POINT)
    assert found != only


def test_the_machines_take_turns(machines: list[Machine], alone: Machine) -> None:
    """Each click of two objects is answered by the next machine."""
    clicks = [[BOX], [POINT], [POINT, keypoint("p2", 45, 45)], [keypoint("other", 80, 80)]]
    clicks += [[keypoint("other", 80, 80), keypoint("cut", 85, 85, positive=False)]]
    found = [machines[number % 2].mask(*prompts) for number, prompts in enumerate(clicks)]
    assert found == [alone.mask(*prompts) for prompts in clicks]


def test_an_object_that_ended_on_another_machine(machines: list[Machine], alone: Machine) -> None:
    machines[0].click(BOX)
    task = {"id": 1}
    machines[1].post("/webhook", {"action": "ANNOTATION_CREATED", "task": task, "project": {}})
    expected = alone.mask(POINT)
    assert machines[0].mask(POINT) == expected


def test_a_machine_alone_knows_its_own_clicks(
    machines: list[Machine], server: RedisServer, alone: Machine
) -> None:
    server.kill()
    machines[0].click(BOX)
    alone.click(BOX)
    assert machines[0].mask(POINT) == alone.mask(POINT)


def test_the_later_click_counts_after_the_server_was_away(
    machines: list[Machine], server: RedisServer, alone: Machine
) -> None:
    """The server forgot what this machine still knows."""
    machines[0].click(BOX)
    server.restart()
    alone.click(BOX)
    assert machines[0].mask(POINT) == alone.mask(POINT)


def test_extra_params_that_another_machine_was_told(machines: list[Machine]) -> None:
    machines[0].setup('{"sam_output": "outline"}')
    assert [machine.click(POINT)[0]["type"] for machine in machines] == ["polygonlabels"] * 2
    machines[1].setup("{}")
    assert [machine.click(POINT)[0]["type"] for machine in machines] == ["brushlabels"] * 2


def test_no_token_and_no_address_leave_a_machine(
    machines: list[Machine], server: RedisServer
) -> None:
    machines[0].setup("{}")
    machines[0].click(BOX)
    assert machines[1].services.state.project(PROJECT).from_setup is None
    with server.client() as client:
        kinds = {key.split(b":")[2] for key in client.scan_iter("*")}
        found = b"".join(server.values("setup").values())
        for key in client.scan_iter("*:task:*"):
            found += b"".join(client.hgetall(key).values())
    assert kinds <= {b"setup", b"task", b"embedding", b"turn"}
    assert found
    for secret in (b"t0ken", b"studio.example", b"data:image"):
        assert secret not in found


def test_damaged_values_are_misses(
    machines: list[Machine], server: RedisServer, alone: Machine
) -> None:
    machines[0].setup('{"candidates": 3}')
    machines[0].click(BOX)
    with server.client() as client:
        ((setup, value),) = server.values("setup").items()
        client.set(setup, value.replace(b"3", b"2"))
        (task,) = client.scan_iter("*:task:*")
        for name, click in client.hgetall(task).items():
            client.hset(task, name, click[:-1] + bytes([click[-1] ^ 1]))
    assert machines[1].services.state.project(PROJECT).extra_params == {}
    assert machines[1].mask(POINT) == alone.mask(POINT)


CLICK: dict[str, Any] = {
    "prompts": [],
    "draft_version": "",
    "time": 1.0,
    "trust": 0,
    "sends_rectangles": False,
}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[1]",
        b"7",
        b"no JSON",
        b"\xff",
        b'{"prompts": 1}',
        *map(
            orjson.dumps,
            (
                CLICK | {"time": "1"},
                CLICK | {"time": None},
                CLICK | {"time": 1e300},
                CLICK | {"time": [1]},
                CLICK | {"trust": "high"},
                CLICK | {"trust": 10**9},
                CLICK | {"draft_version": 7},
                CLICK | {"prompts": [1]},
                CLICK | {"prompts": [{"id": 1, "x": 1, "y": 1}]},
                CLICK | {"prompts": [{"id": "a", "x": "1", "y": 1}]},
                CLICK | {"prompts": [{"id": "a", "x": 1e300, "y": -1e300}]},
                CLICK | {"prompts": [{"id": "a", "x": 1, "y": 1, "angle": None}]},
                CLICK | {"prompts": [{"id": "a", "x": 1, "y": 1, "control": {}}]},
                CLICK | {"prompts": [{"id": "a", "x": 1, "y": 1, "new": 1}]},
            ),
        ),
    ],
)
def test_a_value_of_another_version_costs_no_mask(
    machines: list[Machine], server: RedisServer, value: bytes
) -> None:
    machines[0].setup("{}")
    machines[0].click(BOX)
    with server.client() as client:
        (task,) = client.scan_iter("*:task:*")
        for name in client.hkeys(task):
            place = f"{task.decode()}/{name.hex()}"
            client.hset(task, name, seal(place, value))
    assert machines[1].click(POINT)


def test_the_clicks_of_a_task_are_bounded(
    opened: Callable[[str], CommonStore], server: RedisServer
) -> None:
    tasks = TasksOfMachines(opened(server.url))
    for number in range(3 * tasks_of_machines.MOST_CLICKS):
        task = tasks.task("p", "1")
        assert task is not None
        task.new[str(number).encode()] = b"{}"
        tasks.keep(task)
    task = tasks.task("p", "1")
    assert task is not None
    assert 0 < len(task.clicks) <= tasks_of_machines.MOST_CLICKS


def test_what_clicks_leave_ends_by_itself(machines: list[Machine], server: RedisServer) -> None:
    machines[0].setup("{}")
    machines[0].click(BOX)
    with server.client() as client:
        wait_until(lambda: not client.keys("*:turn:*"))
        assert all(client.ttl(key) > 0 for key in client.keys("*"))
