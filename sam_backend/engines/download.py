"""Downloads model weights and checks their hashes."""

from __future__ import annotations

import argparse
import os
import subprocess

from sam_backend.errors import SettingsError
from sam_backend.installation import FILES
from sam_backend.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="mobile_sam",
        metavar="NAME",
        help="mobile_sam, sam2.1_hiera_tiny, sam_vit_b, …",
    )


def run(options: argparse.Namespace) -> int:
    model_dir = Settings.from_environment().model_dir
    command = ["bash", str(FILES / "download_models.sh"), "--model", options.model]
    try:
        done = subprocess.run(  # noqa: S603 (our own script)
            command, env={**os.environ, "MODEL_DIR": str(model_dir)}, check=False
        )
    except FileNotFoundError:
        raise SettingsError("bash is not installed, and the download script needs it") from None
    return done.returncode
