"""The mask of one object from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam_backend.exports import coco_rle
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, draw, iou
from tests.needs import REPOSITORY, WEIGHTS, need_weights

X, Y = (round(part * side) for part, side in zip(Shape.DISC.centre, (WIDTH, HEIGHT), strict=True))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    draw(list(Shape)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    environ |= {"MODEL_DIR": str(folder), "MOBILESAM_CHECKPOINT": str(WEIGHTS), **more}
    return subprocess.run(
        [sys.executable, "-m", "sam_backend", "segment", *arguments],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_mask_is_written_as_png_and_as_json(photo: Path) -> None:
    need_weights()
    point = ["photo.png", "--point", f"{X},{Y}"]
    done = run(photo.parent, *point, "--not-point", "5,5", "--out", "mask.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mask.png: ")
    mask = np.asarray(Image.open(photo.parent / "mask.png"))
    assert iou(mask > 0, Shape.DISC.mask()) > 0.95
    left, top, right, bottom = Shape.DISC.value[1]
    box = f"{left - 5},{top - 5},{right + 5},{bottom + 5}"
    done = run(photo.parent, "photo.png", "--box", box, "--out", "a/mask.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((photo.parent / "a/mask.json").read_text())
    assert iou(coco_rle.decode(found["segmentation"]), Shape.DISC.mask()) > 0.95
    assert found["polygons"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["photo.png", "--point", "1", "--out", "a.png"], "'1' is not 2 numbers with commas"),
        (["photo.png", "--point", "1,2", "--out", "a.gif"], "does not end in .png or .json"),
        (["photo.png", "--point", "1,2"], "--out"),
    ],
)
def test_what_is_wrong_is_one_line(photo: Path, arguments: list[str], line: str) -> None:
    done = run(photo.parent, *arguments)
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_picture_that_is_not_there_and_weights_that_are_missing(photo: Path) -> None:
    if WEIGHTS.is_dir():
        done = run(photo.parent, "b.png", "--point", "1,2", "--out", "a.png")
        assert done.stderr == "segment: b.png: No such file or directory\n"
        done = run(photo.parent, "photo.png", "--out", "a.png")
        assert done.stderr == "segment: there is no prompt: add a point on it, or a box\n"
    missing = {"MOBILESAM_CHECKPOINT": str(photo.parent / "nowhere")}
    done = run(photo.parent, "photo.png", "--point", "1,2", "--out", "a.png", **missing)
    (line,) = done.stderr.splitlines()
    assert "--model mobile_sam fetches it" in line
