"""Folders with all objects of a label, from COCO files and from pictures of nuclei."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clicks.saved_masks import disc
from tests.fakes import picture
from tests.street import CARS, RADIUS, TREES
from tools.quality import annotated_folder
from tools.quality.similar_pictures import pictures_in


def run(monkeypatch: pytest.MonkeyPatch, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", ["annotated_folder", *map(str, options)])
    annotated_folder.main()


def square(place: tuple[int, int]) -> list[int]:
    (x, y), r = place, 15
    return [x - r, y - r, x + r, y - r, x + r, y + r, x - r, y + r]


def coco(folder: Path) -> Path:
    """Four cars and a crowd of trees."""
    kinds = [(1, place) for place in CARS] + [(2, place) for place in TREES]
    objects = [
        {"id": n, "image_id": 7, "category_id": kind, "segmentation": [square(place)]}
        for n, (kind, place) in enumerate(kinds)
    ]
    objects[-1]["iscrowd"] = 1
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 400, "height": 300}],
        "annotations": objects,
        "categories": [{"id": 1, "name": "sports car"}, {"id": 2, "name": "tree"}],
    }
    (folder / "a.png").write_bytes(picture())
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


def test_the_objects_of_a_coco_file_without_crowds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # the second run replaces the first one's picture
        run(monkeypatch, "--set", "street", out, "coco", coco(tmp_path), tmp_path)
    [found] = pictures_in(out)
    assert (found.domain, found.label) == ("street", "sports car")
    assert found.name == "street/7_sportscar.png"
    assert len(found.truths) == len(CARS)
    for x, y in CARS:
        assert sum(int(mask[y, x]) for mask in found.truths) == 1


def test_named_pictures_of_nuclei(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("0123456789abcdef", "fedcba9876543210"):
        for part in ("images", "masks"):
            (tmp_path / "stage1" / name / part).mkdir(parents=True)
        (tmp_path / "stage1" / name / "images" / f"{name}.png").write_bytes(picture())
        for number, place in enumerate(CARS):
            mask = Image.fromarray(disc(*place, RADIUS).astype(np.uint8) * 255)
            mask.save(tmp_path / "stage1" / name / "masks" / f"{number}.png")
    names = tmp_path / "names.txt"
    names.write_text("cells/fedcba987654\n")
    run(monkeypatch, "--names", names, tmp_path / "out", "nuclei", tmp_path / "stage1")
    [found] = pictures_in(tmp_path / "out")
    assert (found.domain, found.name) == ("cells", "cells/fedcba987654.png")
    assert len(found.truths) == len(CARS)
