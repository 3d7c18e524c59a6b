"""A real Redis server for tests, where there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.soak.redis_server import RedisServer

PASSWORD = "se/cret"  # its slash must survive an address


def required() -> None:
    """Skips the tests where there is no redis-server. CI has one and sets REQUIRE_E2E."""
    if shutil.which("redis-server") is None:
        message = "redis-server is not installed: apt-get install redis-server"
        if os.environ.get("REQUIRE_E2E") == "1":
            pytest.fail(message)
        pytest.skip(message)


@contextmanager
def running(folder: Path, *options: str) -> Iterator[RedisServer]:
    required()
    server = RedisServer(folder, *options)
    try:
        yield server
    finally:
        server.end()
