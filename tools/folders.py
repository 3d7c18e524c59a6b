"""The folders that the tools read."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Weights and pictures that measurements use if they are there.
SHARED = Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared"))
