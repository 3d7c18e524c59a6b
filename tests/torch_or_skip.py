"""What the tests of the optional engines need, or the reason why they are skipped."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("SHARED_DIR") or ROOT.parent / "shared")
PAIR = (ROOT / "models/mobile_sam/encoder.onnx", ROOT / "models/mobile_sam/decoder.onnx")
CHECKPOINT = SHARED / "models/mobile_sam.pt"


def need(*packages: str) -> None:
    """Skips a test without these packages; REQUIRE_TORCH=1 makes that a failure."""
    missing = [name for name in packages if not importlib.util.find_spec(name)]
    if missing:
        files = "requirements-openvino.txt" if "openvino" in missing else "requirements-torch.txt"
        message = f"{', '.join(missing)} not installed ({files})"
        if os.environ.get("REQUIRE_TORCH") == "1":
            pytest.fail(message)
        pytest.skip(message)


def need_files(*paths: Path) -> None:
    for path in paths:
        if not path.is_file():
            pytest.skip(f"{path} is not there")
