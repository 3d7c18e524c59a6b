"""A folder to run commands for whole data sets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bulk.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
