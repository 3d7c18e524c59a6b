"""Parts that tests share: the real weights, shared images where present, a server in process."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from flask.testing import FlaskClient

from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.protocol import Engine
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.settings import Settings
from tests.fakes import DiscEngine
from tests.needs import PAIR, SHARED, need_weights

# A server that a test starts would measure first what is fastest here, which takes seconds.
if importlib.util.find_spec("openvino"):
    os.environ.setdefault("SAM_ENGINE", "openvino")
    os.environ.setdefault("SAM_PRECISION", "f32")

# How long an example takes says something about the machine, not about the code. The examples are
# the same in every run, so that a failure is one of the code. FUZZ=10 tries others.
hypothesis.settings.register_profile(
    "untimed",
    deadline=None,
    database=None,
    derandomize=os.environ.get("FUZZ", "1") == "1",
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """MobileSAM as it is served by default."""
    need_weights()
    return OnnxSam(*PAIR, "MobileSAM")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images and requests that are not part of this repository."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared test material at {SHARED} (set SHARED_DIR)")
    return SHARED


@pytest.fixture
def payload(shared: Path) -> Callable[[str], dict[str, Any]]:
    """A request body that a real Label Studio 1.23.2 sent."""

    def load(name: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads((shared / "payloads" / f"{name}.json").read_text())
        return body

    return load


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings from an environment of the test's own."""

    def make(**environ: str) -> Settings:
        return Settings.from_environment({"MODEL_DIR": str(tmp_path), **environ})

    return make


@pytest.fixture
def services(settings: Callable[..., Settings]) -> Callable[..., Services]:
    """Services around an engine that draws discs."""

    def make(engine: Engine | None = None, **environ: str) -> Services:
        return Services(settings(**environ), "test-model", lambda: engine or DiscEngine())

    return make


@pytest.fixture
def client(services: Callable[..., Services]) -> FlaskClient:
    """A server in this process, without Basic authentication."""
    made = services()
    return create_app(made.settings, made).test_client()
