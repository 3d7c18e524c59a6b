"""Embeddings on several machines: one encode an image, and never another image's embedding."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sam_backend.embeddings import of_machines
from sam_backend.embeddings.cache import Embeddings
from sam_backend.embeddings.of_machines import MachinesEmbeddings
from sam_backend.engines.protocol import Embedding
from sam_backend.errors import Refusal
from sam_backend.machines import turns
from sam_backend.machines.common_store import CommonStore
from sam_backend.net.downloaded import Download
from tests.held import wait_until
from tools.soak.redis_server import RedisServer

Opened = Callable[..., CommonStore]

MB = 1 << 20


class Machine:
    """A cache of its own, and the images that it encoded."""

    def __init__(self, folder: Path, store: CommonStore, *, has_disk: bool = True) -> None:
        self.embeddings = Embeddings.in_folder(
            folder, 64 * MB, 64 * MB if has_disk else 0, MachinesEmbeddings(store)
        )
        self.encodes: list[int] = []
        self.can_encode = threading.Event()
        self.can_encode.set()

    def get(self, image: int, model: str = "m") -> float:
        """The embedding's value, which tells the image."""
        content = str(image).encode()
        found = self.embeddings.get(f"u{image}", model, lambda: Download(content), self.encode)
        assert len(np.unique(found.features)) == 1
        return float(found.features[0, 0, 0, 0])

    def encode(self, content: bytes) -> Embedding:
        self.encodes.append(int(content))
        self.can_encode.wait(30)
        return Embedding(np.full((1, 256, 64, 64), float(content), np.float32), 4, 4)


@pytest.fixture
def machines(tmp_path: Path, opened: Opened, server: RedisServer) -> list[Machine]:
    return [Machine(tmp_path / str(number), opened(server.url)) for number in range(3)]


def is_shared(server: RedisServer, count: int = 1) -> bool:
    return len(server.values("embedding")) == count and not server.values("turn")


def test_another_machine_encodes_nothing(machines: list[Machine], server: RedisServer) -> None:
    assert machines[0].get(7) == 7
    wait_until(lambda: is_shared(server))
    assert [machine.get(7) for machine in machines] == [7, 7, 7]
    assert [len(machine.encodes) for machine in machines] == [1, 0, 0]
    (value,) = server.values("embedding").values()
    assert len(value) < 2.1 * MB


def test_what_came_from_another_machine_stays_on_disk(
    machines: list[Machine], opened: Opened, server: RedisServer, tmp_path: Path
) -> None:
    machines[0].get(7)
    machines[1].get(7)
    wait_until(lambda: list((tmp_path / "1").rglob("*.embedding")))
    server.kill()
    again = Machine(tmp_path / "1", opened(server.url))
    assert again.get(7) == 7
    assert not again.encodes


def test_a_machine_without_a_disk(tmp_path: Path, opened: Opened, server: RedisServer) -> None:
    one, other = (Machine(tmp_path / n, opened(server.url), has_disk=False) for n in "ab")
    one.get(7)
    wait_until(lambda: is_shared(server))
    assert other.get(7) == 7
    assert not other.encodes


def test_another_model_never_gets_it(machines: list[Machine], server: RedisServer) -> None:
    machines[0].get(7)
    wait_until(lambda: is_shared(server))
    machines[1].get(7, "other")
    assert machines[1].encodes == [7]


def test_all_machines_at_once_encode_once(machines: list[Machine]) -> None:
    with ThreadPoolExecutor(12) as pool:
        for image in range(5):
            asked = [pool.submit(machine.get, image) for machine in machines * 4]
            assert {one.result() for one in asked} == {image}
    encodes = [image for machine in machines for image in machine.encodes]
    assert sorted(encodes) == [0, 1, 2, 3, 4]


def test_a_slow_encode_keeps_its_turn(
    machines: list[Machine], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LOCK_S", 8.0)
    machines[0].can_encode.clear()
    with ThreadPoolExecutor(2) as pool, server.client() as client:
        first = pool.submit(machines[0].get, 7)
        wait_until(lambda: machines[0].encodes)
        second = pool.submit(machines[1].get, 7)
        wait_until(client.pubsub_channels)  # the second one listens
        (key,) = client.keys("*:turn:*")
        client.expire(key, 1000)
        wait_until(lambda: client.ttl(key) <= turns.LOCK_S)  # it was renewed
        assert not machines[1].encodes
        machines[0].can_encode.set()
        assert [first.result(), second.result()] == [7, 7]
    assert not machines[1].encodes


def test_a_machine_that_was_cut_off_loses_its_turn(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LOCK_S", 0.4)
    monkeypatch.setattr(turns, "_renewed", lambda _lock: _never())
    machines[0].can_encode.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(machines[0].get, 7)
        wait_until(lambda: machines[0].encodes)
        assert machines[1].get(7) == 7
        machines[0].can_encode.set()
        assert first.result() == 7
    assert machines[1].encodes == [7]


async def _never() -> None:
    pass


def test_a_failed_encode_gives_the_turn_to_another(machines: list[Machine]) -> None:
    def fail(_content: bytes) -> Embedding:
        waiting.wait(30)
        raise Refusal("image", "damaged")

    waiting = threading.Event()
    first = machines[0].embeddings
    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(first.get, "u7", "m", lambda: Download(b"7"), fail)
        wait_until(lambda: first._making._flights)
        other = pool.submit(machines[1].get, 7)
        waiting.set()
        with pytest.raises(Refusal):
            failing.result()
        assert other.result() == 7


def test_machines_wait_no_longer_than_a_while(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that nobody holds, such as one that somebody else wrote into the server."""
    monkeypatch.setattr(of_machines, "LONGEST_WAIT_S", 1.0)
    monkeypatch.setattr(turns, "LOCK_S", 1000)
    machines[0].can_encode.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(machines[0].get, 7)
        wait_until(lambda: machines[0].encodes)
        assert machines[1].get(7) == 7
        machines[0].can_encode.set()
        first.result()


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_a_server_that_fails_while_a_machine_waits(
    machines: list[Machine], server: RedisServer, fault: str
) -> None:
    machines[0].can_encode.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(machines[0].get, 7)
        wait_until(lambda: machines[0].encodes)
        second = pool.submit(machines[1].get, 7)
        time.sleep(0.2)  # it waits by now, or will soon
        getattr(server, fault)()
        assert second.result() == 7
        machines[0].can_encode.set()
        assert first.result() == 7
    assert machines[1].encodes == [7]


def test_damaged_values_are_misses(machines: list[Machine], server: RedisServer) -> None:
    dice = np.random.default_rng(0)
    for image in range(4):
        machines[0].get(image)
    wait_until(lambda: is_shared(server, 4))
    whole = server.values("embedding")
    with server.client() as client:
        for key, value in whole.items():
            damaged = bytearray(value)
            damaged[dice.integers(len(damaged))] ^= 1 << int(dice.integers(8))
            client.set(key, bytes(damaged))
    assert [machines[1].get(image) for image in range(4)] == [0, 1, 2, 3]
    assert machines[1].encodes == [0, 1, 2, 3]
    wait_until(lambda: is_shared(server, 4))
    assert server.values("embedding") == whole  # they were made again


def test_values_at_wrong_keys_are_misses(machines: list[Machine], server: RedisServer) -> None:
    machines[0].get(1)
    machines[0].get(2)
    wait_until(lambda: is_shared(server, 2))
    (one, two), values = server.values("embedding"), list(server.values("embedding").values())
    with server.client() as client:
        client.set(one, values[1])
        client.set(two, values[0])
    assert [machines[1].get(1), machines[1].get(2)] == [1, 2]


@pytest.mark.parametrize("poison", ["another kind", "huge", "cut", "empty"])
def test_other_values_are_misses(machines: list[Machine], server: RedisServer, poison: str) -> None:
    machines[0].get(1)
    wait_until(lambda: is_shared(server))
    ((key, value),) = server.values("embedding").items()
    with server.client() as client:
        if poison == "another kind":
            client.delete(key)
            client.hset(key, "a", "b")
        else:
            new = {"huge": value + bytes(65 << 20), "cut": value[:-1], "empty": b""}[poison]
            client.set(key, new)
    assert machines[1].get(1) == 1


def test_a_forgotten_image_is_forgotten_everywhere(
    machines: list[Machine], server: RedisServer
) -> None:
    machines[0].get(7)
    wait_until(lambda: is_shared(server))
    content = machines[0].embeddings.known("u7")
    assert content is not None
    machines[0].embeddings.forget(content.content, "m")
    assert not server.values("embedding")


def test_an_id_works_while_its_embedding_is_on_the_way(machines: list[Machine]) -> None:
    for image in range(20):
        machines[0].get(image)
        known = machines[0].embeddings.known(f"u{image}")
        assert known is not None
        found = machines[1].embeddings.of_content(known.content, "m")
        assert found is not None
        assert found.features[0, 0, 0, 0] == image
