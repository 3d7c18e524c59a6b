"""Headers that say which part of a path is a prefix: a proxy's, but any client can send them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.held import LIMIT_S, running


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "Script-Name", "PATH_INFO"])
@pytest.mark.parametrize("value", ["/x", "/health", ""])
def test_they_change_nothing(server: str, name: str, value: str) -> None:
    response = requests.get(f"{server}/health", headers={name: value}, timeout=LIMIT_S)
    assert response.status_code == 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("prefix")) as held:
        yield held.url
