"""A Redis server for each test that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam_backend.embeddings import of_machines
from sam_backend.machines import common_store, turns
from sam_backend.machines.common_store import CommonStore
from sam_backend.server import routes
from sam_backend.shared import shapes_of_machines
from tests import redis_server
from tools.soak.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server.running(tmp_path) as running:
        yield running


@pytest.fixture
def opened() -> Iterator[Callable[..., CommonStore]]:
    """Opens a common store, and closes it after the test."""
    stores = []

    def open_store(url: str, ca_file: str | None = None) -> CommonStore:
        stores.append(CommonStore(url, "test", ca_file))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


# How long each kind of question may take, and a turn that is not renewed.
_LIMITS = [
    (module, name, getattr(module, name))
    for module, name in (
        (common_store, "ANSWER_S"),
        (of_machines, "_WHOLE_S"),
        (of_machines, "_WRITE_S"),
        (shapes_of_machines, "_WRITE_S"),
        (turns, "LOCK_S"),
    )
]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Waits longer for answers, because a busy machine may take more than the usual time.

    The usual time for an answer.
    """
    usual = common_store.ANSWER_S
    for module, name, _ in _LIMITS:
        monkeypatch.setattr(module, name, 60.0)
    monkeypatch.setattr(routes, "PATIENCE_S", 3600.0)  # so that no click is refused
    return usual


@pytest.fixture
def hurried(patient: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits no longer than usual, for servers that do not answer."""
    for module, name, usual in _LIMITS:
        monkeypatch.setattr(module, name, usual)
