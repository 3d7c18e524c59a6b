"""The files and packages that tests need. A test without them is skipped, and says why."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
WEIGHTS = REPOSITORY / "models" / "mobile_sam"
PAIR = (WEIGHTS / "encoder.onnx", WEIGHTS / "decoder.onnx")
SHARED = Path(os.environ.get("SHARED_DIR") or REPOSITORY.parent / "shared")
CHECKPOINT = SHARED / "models" / "mobile_sam.pt"

NO_WEIGHTS = "no weights in models/mobile_sam: run ./download_models.sh"
needs_weights = pytest.mark.skipif(not PAIR[0].is_file(), reason=NO_WEIGHTS)


def need(*packages: str) -> None:
    """Skips a test without these packages; REQUIRE_TORCH=1 makes that a failure."""
    missing = [name for name in packages if not importlib.util.find_spec(name)]
    if missing:
        files = "requirements-openvino.txt" if "openvino" in missing else "requirements-torch.txt"
        message = f"{', '.join(missing)} not installed ({files})"
        if os.environ.get("REQUIRE_TORCH") == "1":
            pytest.fail(message)
        pytest.skip(message)


def need_weights() -> None:
    """Skips a test without the weights of MobileSAM."""
    if not PAIR[0].is_file():
        pytest.skip(NO_WEIGHTS)


def need_files(*paths: Path) -> None:
    """Skips a test without these files."""
    for path in paths:
        if not path.is_file():
            pytest.skip(f"{path} is not there")
