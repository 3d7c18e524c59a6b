"""Where the files beside the code are: in a checkout, or in an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IN_WHEEL = _PACKAGE / "files"  # put there by the build, see pyproject.toml

INSTALLED = _IN_WHEEL.is_dir()
IMPORTS = _PACKAGE.parent  # the folder that holds the package
FILES = _IN_WHEEL if INSTALLED else _PACKAGE.parent
DOWNLOAD = "sam-backend download" if INSTALLED else "./download_models.sh"
INSTALL_OPENVINO = "pip install --no-deps " + (
    "openvino" if INSTALLED else "-r requirements-openvino.txt"
)
START = "sam-backend serve" if INSTALLED else "make start"


def default_model_dir() -> Path:
    """`models` in a checkout. An installed package must not write into its own folder."""
    if not INSTALLED:
        return FILES / "models"
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "sam-backend" / "models"


def pip_install(extra: str) -> str:
    """The command that installs the packages of an optional engine."""
    return "pip install " + (
        f"'sam-backend[{extra}]'" if INSTALLED else f"-r requirements-{extra}.txt"
    )
