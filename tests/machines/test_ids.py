"""Ids of programs that another machine gave out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sam_backend.machines.common_store import CommonStore
from sam_backend.machines.sealed import seal
from sam_backend.shared.ids_of_machines import MachinesIds
from sam_backend.shared.program_ids import KnownAnswer, ProgramIds
from tools.soak.redis_server import RedisServer

Opened = Callable[..., CommonStore]


@pytest.fixture
def machines(tmp_path: Path, opened: Opened, server: RedisServer) -> list[MachinesIds]:
    return [
        MachinesIds(ProgramIds(tmp_path / f"{n}.sqlite3"), opened(server.url)) for n in range(2)
    ]


def test_any_machine_knows_an_image_and_its_answers(machines: list[MachinesIds]) -> None:
    one, other = machines
    image = one.add_image("content")
    (answer,) = other.add_answers(image, [b"[1]"])
    assert other.content(image) == "content"
    assert one.answer(answer) == KnownAnswer(image, b"[1]")
    assert other.content("unknown") is None
    assert other.answer("unknown") is None


def test_what_one_machine_removes_is_gone_on_all(machines: list[MachinesIds]) -> None:
    one, other = machines
    image, same = one.add_image("content"), other.add_image("content")
    (answer,) = one.add_answers(image, [b"[1]"])
    assert other.remove_image(image) is None  # another id stands for the content
    assert one.content(image) is None
    assert one.answer(answer) is None
    assert one.remove_image(same) == "content"
    assert one.remove_image("unknown") is None


def test_an_id_that_stands_for_another_image_now(machines: list[MachinesIds]) -> None:
    one, other = machines
    one.add_image("before", "mine")
    (answer,) = one.add_answers("mine", [b"[1]"])
    other.add_image("after", "mine")
    assert one.content("mine") == "after"
    assert one.answer(answer) is None


def test_a_machine_alone_knows_its_own_ids(
    machines: list[MachinesIds], server: RedisServer
) -> None:
    one, other = machines
    before = one.add_image("content")
    server.kill()
    during = one.add_image("new")
    (answer,) = one.add_answers(during, [b"[1]"])
    assert [one.content(before), one.content(during)] == ["content", "new"]
    assert one.answer(answer) == KnownAnswer(during, b"[1]")
    assert other.content(before) is None
    assert one.remove_image(during) == "new"


def test_damaged_values_are_misses(machines: list[MachinesIds], server: RedisServer) -> None:
    one, other = machines
    image = one.add_image("content")
    (answer,) = one.add_answers(image, [b"[1]"])
    with server.client() as client:
        for kind in ("answer", "image"):
            ((key, value),) = server.values(kind).items()
            client.set(key, value[:-1] + bytes([value[-1] ^ 1]))
    assert other.answer(answer) is None
    assert other.content(image) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b"7",
        b'{"image": 1, "content": "c", "value": "[1]"}',
        b'{"image": "i", "value": "[1]"}',
        b'{"image": "i", "content": null, "value": "[1]"}',
        b'{"image": "i", "content": "c", "value": [1]}',
    ],
)
def test_what_another_program_writes_is_a_miss(
    machines: list[MachinesIds], server: RedisServer, value: bytes
) -> None:
    one, other = machines
    image = one.add_image("content")
    (answer,) = one.add_answers(image, [b"[1]"])
    with server.client() as client:
        for kind in ("answer", "image"):
            (key,) = server.values(kind)
            client.set(key, seal(key.decode(), value if kind == "answer" else b"\xff" + value))
            if kind == "answer":
                assert other.answer(answer) is None
    assert other.content(image) is None
    assert other.answer(answer) is None
