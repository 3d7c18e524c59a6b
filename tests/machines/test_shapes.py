"""Shapes of kept masks that another machine heard of."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sam_backend.clicks.kept_masks import KeptMask
from sam_backend.clicks.learnt_shapes import LEAST, MOST
from sam_backend.machines.common_store import CommonStore
from sam_backend.machines.sealed import seal
from sam_backend.shared import shapes_of_machines
from sam_backend.shared.kept_shapes import KeptShapes
from sam_backend.shared.shapes_of_machines import MachinesShapes
from tools.soak.redis_server import RedisServer

Opened = Callable[..., CommonStore]


@pytest.fixture
def machines(
    tmp_path: Path, opened: Opened, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> list[MachinesShapes]:
    monkeypatch.setattr(shapes_of_machines, "SETTLED_S", 0)
    return [
        MachinesShapes(KeptShapes.in_folder(tmp_path / str(number)), opened(server.url))
        for number in range(2)
    ]


def masks(count: int, label: str = "Car", share: float = -3.0) -> list[KeptMask]:
    return [KeptMask(label, f"r{number}", np.array([share, 0.8])) for number in range(count)]


def count(kept: MachinesShapes | KeptShapes, project: str = "1.5", label: str = "Car") -> int:
    learnt = kept.learnt(project, label)
    return learnt.count if learnt else 0


def test_machines_learn_together(machines: list[MachinesShapes]) -> None:
    one, other = machines
    one.put("1.5", "10", masks(LEAST - 1))
    assert count(other) == 0
    other.put("1.5", "11", masks(1))
    assert [count(one), count(other)] == [LEAST, LEAST]
    assert count(one, label="Bike") == 0
    assert count(one, project="2.5") == 0
    learnt, same = one.learnt("1.5", "Car"), other.learnt("1.5", "Car")
    assert learnt is not None
    assert same is not None
    assert learnt.digest == same.digest


def test_they_learn_the_same_as_one_machine_would(
    machines: list[MachinesShapes], tmp_path: Path
) -> None:
    """Only the first masks count, and one that changes keeps its place."""
    alone = KeptShapes.in_folder(tmp_path / "alone")
    for number in range(MOST + 8):
        mask = masks(2, share=-float(number))
        machines[number % 2].put("1.5", str(number), mask)
        alone.put("1.5", str(number), mask)
    for kept in (machines[0], alone):
        kept.put("1.5", "3", masks(2, share=-9.5))
    expected, found = alone.learnt("1.5", "Car"), machines[1].learnt("1.5", "Car")
    assert expected is not None
    assert found is not None
    assert found.count == MOST
    assert found.digest == expected.digest


def test_a_changed_annotation_replaces_its_masks(machines: list[MachinesShapes]) -> None:
    one, other = machines
    one.put("1.5", "10", masks(LEAST))
    other.put("1.5", "10", masks(LEAST, "Bike"))
    assert count(one) == 0
    assert count(one, label="Bike") == LEAST


def test_what_is_forgotten_is_forgotten_everywhere(machines: list[MachinesShapes]) -> None:
    one, other = machines
    ways: list[Callable[[], None]] = [
        lambda: other.forget_annotations("1.5", ["10"]),
        lambda: other.forget_project("1.5"),
        lambda: other.forget_projects_of("1"),
    ]
    for forget in ways:
        one.put("1.5", "10", masks(LEAST))
        one.put("12.5", "1", masks(LEAST))
        assert count(one) == LEAST
        forget()
        assert count(one) == 0
        assert count(one, project="12.5") == LEAST


def test_a_machine_alone_uses_what_it_heard(
    machines: list[MachinesShapes], server: RedisServer
) -> None:
    machines[0].put("1.5", "10", masks(LEAST))
    server.kill()
    assert [count(kept) for kept in machines] == [LEAST, 0]
    machines[1].put("1.5", "11", masks(LEAST))
    assert count(machines[1]) == LEAST


def test_damaged_values_do_not_count(machines: list[MachinesShapes], server: RedisServer) -> None:
    machines[0].put("1.5", "10", masks(LEAST))
    with server.client() as client:
        (key,) = client.scan_iter("*:shapes:*")
        fields: dict[bytes, bytes] = client.hgetall(key)
        field, value = next(iter(fields.items()))
        client.hset(key, field, value[:-1] + bytes([value[-1] ^ 1]))
        client.hset(key, "nonsense", "?")
    assert count(machines[1]) == 0
    machines[1].put("1.5", "11", masks(2))
    assert count(machines[1]) == LEAST


@pytest.mark.parametrize("figures", [(np.nan, 0.5), (-1, np.inf), (1e300, 0.5), (-1, -1e300)])
def test_impossible_figures_do_not_count(
    machines: list[MachinesShapes], server: RedisServer, figures: tuple[float, float]
) -> None:
    machines[0].put("1.5", "10", masks(LEAST))
    with server.client() as client:
        (key,) = client.scan_iter("*:shapes:*")
        for field in client.hkeys(key):
            place = f"{key.decode()}/{field.hex()}"
            client.hset(key, field, seal(place, struct.pack("<ddd", 1.0, *figures)))
    assert count(machines[1]) == 0


def test_names_that_are_no_text_stop_nothing(
    machines: list[MachinesShapes], server: RedisServer
) -> None:
    machines[0].put("1.5", "10", masks(1))
    with server.client() as client:
        (key,) = client.scan_iter("*:labels:*")
        client.sadd(key, b"\xff")
    machines[1].put("1.5", "11", masks(LEAST))
    assert count(machines[0]) == LEAST


def test_machines_ask_now_and_then_only(
    tmp_path: Path, opened: Opened, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes_of_machines, "SETTLED_S", 3600)
    one, other = (
        MachinesShapes(KeptShapes.in_folder(tmp_path / name), opened(server.url)) for name in "ab"
    )
    assert count(one) == 0
    other.put("1.5", "10", masks(LEAST))
    assert [count(one), count(other)] == [0, LEAST]
