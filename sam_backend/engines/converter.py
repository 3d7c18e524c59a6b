"""Converts a PyTorch checkpoint, or a folder of transformers, to encoder.onnx and decoder.onnx.

The pair is first compared with PyTorch on an image. It is then written to a folder with the name of
the checkpoint, where the back end looks for it. `engines.convert` is its command.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sam_backend.engines import onnx_export, pair_check, sources
from sam_backend.engines.steps import step
from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels

LEAST_IOU = 0.99


def convert(
    source: Path,
    folder: Path,
    *,
    fixed_size: tuple[int, int] | None = None,
    picture: Pixels | None = None,
) -> float:
    """Writes the pair into the folder. Returns the lowest IoU with PyTorch over all prompts."""
    with step(f"reading {source}"):
        original = sources.read(source, fixed_size)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as name:
        draft = Path(name)
        facts = {"model": original.name, "checkpoint_sha256": original.digest}
        onnx_export.write(original.parts, draft, facts)
        with step("comparing PyTorch with ONNX Runtime"):
            worst = pair_check.lowest_iou(original.engine, draft, picture, fixed_size)
        if worst < LEAST_IOU:
            raise SettingsError(
                f"the pair differs from PyTorch (IoU {worst:.3f}): nothing was written to {folder}"
            )
        folder.mkdir(exist_ok=True)
        for file in draft.iterdir():
            shutil.move(file, folder / file.name)
    print(f"wrote {folder}/encoder.onnx and {folder}/decoder.onnx")
    return worst
