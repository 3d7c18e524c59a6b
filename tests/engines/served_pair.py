"""Clicks on a server in this process that serves a converted pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam_backend.engines.choice import check, plan
from sam_backend.server.app import create_app
from sam_backend.server.startup import open_services
from sam_backend.settings import Settings
from tests.fakes import keypoint
from tests.server.clicks import click, mask_of

CLICKS = [keypoint("a", 40, 50)], [keypoint("a", 40, 50), keypoint("b", 60, 55)]


def regions(folder: Path, model_dir: Path) -> list[list[dict[str, Any]]]:
    """The regions of one click and of two, each of which has a mask."""
    environ = {"SAM_CHOICE": "ONNX", "ONNX_CHECKPOINT": str(folder), "MODEL_DIR": str(model_dir)}
    settings = Settings.from_environment(environ)
    check(plan(settings))
    client = create_app(settings, open_services(settings)).test_client()
    found = [click(client, *some)["result"] for some in CLICKS]
    assert all(found)
    assert all(mask_of(region).any() for results in found for region in results)
    return found
