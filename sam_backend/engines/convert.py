"""Converts a checkpoint to a pair of ONNX files, which need no PyTorch."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels
from sam_backend.installation import pip_install


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="a checkpoint (sam2.1_hiera_tiny.pt, mobile_sam.pt, …) or a folder of transformers",
    )
    parser.add_argument("--output", type=Path, help="folder (default: the checkpoint's name)")
    parser.add_argument(
        "--fixed-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="masks at the size of the image, for programs that cannot scale masks up",
    )
    parser.add_argument("--image", type=Path, help="compare on this image, not a synthetic one")
    parser.add_argument("--force", action="store_true", help="replace an existing pair")


def run(options: argparse.Namespace) -> int:
    folder = options.output or default_folder(options.checkpoint)
    if (folder / "encoder.onnx").exists() and not options.force:
        raise SettingsError(f"{folder} holds a pair already: --force replaces it")
    if not importlib.util.find_spec("torch"):
        raise SettingsError(f"converting needs PyTorch: {pip_install('torch')}")
    from sam_backend.engines import converter  # noqa: PLC0415 (PyTorch is optional)

    try:
        converter.convert(
            options.checkpoint,
            folder,
            fixed_size=tuple(options.fixed_size) if options.fixed_size else None,
            picture=options.image and _square(Image.open(options.image).convert("RGB")),
        )
    except OSError as error:
        raise SettingsError(str(error)) from None
    return 0


def default_folder(source: Path) -> Path:
    """Beside a checkpoint, under its name. Beside a folder, under its name with `-onnx`."""
    if source.is_dir():
        return source.with_name(f"{source.name}-onnx")
    # Only the suffix of a file: sam2.1_hiera_tiny has a point in its name.
    return source.with_suffix("")


def _square(image: Image.Image) -> Pixels:
    return np.asarray(ImageOps.fit(image, (min(image.size),) * 2))


def main(arguments: Sequence[str] | None = None) -> None:
    """The program onnx_converter.py."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    try:
        run(parser.parse_args(arguments))
    except SettingsError as error:
        sys.exit(str(error))
