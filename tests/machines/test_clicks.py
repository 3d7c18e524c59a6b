"""Clicks on several machines while their Redis server fails in every way: 0 wrong, 0 failed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sam_backend.machines.common_store import CommonStore
from sam_backend.server.app import create_app
from tests import redis_server, shades
from tests.fakes import inline
from tools.soak.redis_server import RedisServer

CLICKS = 240
IMAGES = [inline(shades.picture(10 * n)) for n in range(1, 13)]


class Machine:
    """A back end with files of its own."""

    def __init__(self, folder: Path, server: RedisServer | None) -> None:
        environ = {"LABEL_STUDIO_URL": "http://studio.example", "CACHE_MB": "16"}
        if server is not None:
            environ["CACHE_URL"] = server.url
        self.engine = shades.FakeEngine()
        self.services = shades.services(folder, self.engine, environ)
        if self.services.common_store is not None:
            self.services.common_store._breaker._pause_s = 0.2
        self._client = create_app(self.services.settings, self.services).test_client()

    def post(self, path: str, body: object) -> Any:
        return self._client.post(path, json=body).json

    def get(self) -> Any:
        return self._client.get("/").json

    def click(self, number: int) -> object:
        """The masks for the click of that number. Each one is in a task of its own."""
        dice = random.Random(number)
        image, x, y = dice.choice(IMAGES), dice.uniform(10, 90), dice.uniform(10, 90)
        prompt = shades.keypoint(f"p{number}", x, y)
        found = self.post("/predict", shades.click(number, image, prompt))
        return [region["value"]["rle"] for region in found["results"][0]["result"]]


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    alone = Machine(tmp_path_factory.mktemp("alone"), None)
    return [alone.click(number) for number in range(CLICKS)]


@pytest.fixture
def machines(tmp_path: Path, server: RedisServer) -> Iterator[list[Machine]]:
    found = [Machine(tmp_path / str(number), server) for number in range(3)]
    yield found
    for machine in found:
        store = machine.services.common_store
        assert isinstance(store, CommonStore)
        store.close()


def hang(server: RedisServer) -> None:
    server.hang()
    time.sleep(0.5)
    server.go_on()


def kill(server: RedisServer) -> None:
    server.kill()
    time.sleep(0.5)
    server.start()


def restart(server: RedisServer) -> None:
    server.restart()


def fill(server: RedisServer) -> None:
    server.limit("1mb")
    time.sleep(0.5)
    server.limit("0")


def flip_bits(server: RedisServer) -> None:
    """One bit of each value, and all values of a kind change places."""
    dice = random.Random(0)
    with server.client() as client:
        for kind in ("embedding", "setup"):
            values = server.values(kind)
            for key, value in zip(values, reversed(values.values()), strict=True):
                damaged = bytearray(value)
                if damaged and dice.random() < 0.5:
                    damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
                client.set(key, bytes(damaged))
        for key in client.scan_iter("*:task:*"):
            for field, value in client.hgetall(key).items():
                client.hset(key, field, value[:-1] + bytes([value[-1] ^ 4]))


FAULTS: list[Callable[[RedisServer], None]] = [hang, kill, restart, fill, flip_bits]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_clicks_are_right_whatever_happens_to_the_server(
    machines: list[Machine],
    server: RedisServer,
    right: list[object],
    fault: Callable[[RedisServer], None],
) -> None:
    over = threading.Event()

    def fail_again_and_again() -> None:
        while not over.wait(0.2):
            fault(server)

    failing = threading.Thread(target=fail_again_and_again)
    failing.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda n: machines[n % 3].click(n), range(CLICKS)))
    finally:
        over.set()
        failing.join()
    assert found == right
    assert all(not machine.get()["last_errors"] for machine in machines)


def test_an_image_is_encoded_once_for_all_machines(
    machines: list[Machine], right: list[object]
) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: machines[n % 3].click(n), range(CLICKS)))
    assert found == right
    encodes = sorted(each for machine in machines for each in machine.engine.encoded)
    assert encodes == [10 * n for n in range(1, 13)]


def test_the_status_page_tells_of_the_server(
    tmp_path: Path, machines: list[Machine], server: RedisServer
) -> None:
    machine = machines[0]
    machine.click(1)
    assert machine.get()["machines"] == f"connected to 127.0.0.1:{server.port}"
    server.kill()
    for number in range(4):
        machine.click(number)
    assert "this machine goes on alone" in machine.get()["machines"]
    assert Machine(tmp_path / "alone", None).get()["machines"] == "this one alone"


def test_a_server_that_is_not_there_at_the_start(tmp_path: Path, right: list[object]) -> None:
    with redis_server.running(tmp_path) as server:
        server.kill()
        machine = Machine(tmp_path / "early", server)
        assert [machine.click(number) for number in range(5)] == right[:5]
        assert machine.services.common_store is not None
        machine.services.common_store.close()
