"""A Redis server for each test that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam_backend.machines import common_store
from sam_backend.machines.common_store import CommonStore
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


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Waits longer for answers, because a busy machine may take more than the usual time."""
    usual = common_store.ANSWER_S
    monkeypatch.setattr(common_store, "ANSWER_S", 20.0)
    return usual


@pytest.fixture
def hurried(patient: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits no longer than usual, for servers that do not answer."""
    monkeypatch.setattr(common_store, "ANSWER_S", patient)
