"""A Label Studio and another host, both on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sam_backend.settings import Settings
from tests.loopback import Site, site

SettingsOf = Callable[..., Settings]


@pytest.fixture
def studio() -> Iterator[Site]:
    with site() as served:
        yield served


@pytest.fixture
def elsewhere() -> Iterator[Site]:
    with site() as served:
        yield served


@pytest.fixture
def settings(settings: SettingsOf) -> SettingsOf:
    """The sites of these tests are on loopback, which is refused unless somebody allows it."""
    return lambda **environ: settings(**{"ALLOWED_IMAGE_HOSTS": "127.0.0.1"} | environ)
