"""The programs in the documentation run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sam_backend.exports import coco_rle
from tests.e2e.pictures import Shape, draw, iou
from tests.needs import REPOSITORY, WEIGHTS, need_weights


@pytest.fixture(autouse=True)
def _weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need_weights()
    monkeypatch.setenv("MOBILESAM_CHECKPOINT", str(WEIGHTS))
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def program(document: str, number: int = 0) -> str:
    """A Python program in a document, by its number."""
    found: list[str] = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / document).read_text(), re.DOTALL
    )
    return found[number]


def test_the_program_in_the_readme() -> None:
    code = program("README.md")
    assert len([line for line in code.splitlines() if line]) <= 5
    draw(list(Shape)).save("photo.jpg", quality=95)
    exec(code, {})
    assert np.asarray(Image.open("mask.png")).any()


def test_the_program_that_finds_the_rest() -> None:
    code = program("docs/programs.md", 1)
    assert len([line for line in code.splitlines() if line]) <= 5
    pixels = np.full((240, 400, 3), 200, np.uint8)
    centres = [(x, y) for x in (40, 120, 200, 280, 360) for y in (80, 180)]
    for centre in centres:
        cv2.circle(pixels, centre, 22, (70, 40, 120), -1)
    Image.fromarray(cv2.GaussianBlur(pixels, (5, 5), 0)).save("nuclei.png")
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["nuclei"]) == len(centres)


def test_the_tutorial_makes_a_coco_file(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number, shapes in enumerate(([Shape.DISC], [Shape.PLATE, Shape.BAR])):
        draw(shapes).save(tmp_path / "photos" / f"{number}.jpg", quality=95)
    (tmp_path / "photos" / ".DS_Store").write_bytes(b"of a Mac")
    exec(program("docs/programs.md"), {})
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["0.jpg", "1.jpg"]
    for image_id, shape in ((1, Shape.DISC), (2, Shape.PLATE), (2, Shape.BAR)):
        masks = [
            coco_rle.decode(each["segmentation"])
            for each in coco["annotations"]
            if each["image_id"] == image_id
        ]
        assert max(iou(mask, shape.mask()) for mask in masks) > 0.9
    assert len({each["id"] for each in coco["annotations"]}) == len(coco["annotations"])
