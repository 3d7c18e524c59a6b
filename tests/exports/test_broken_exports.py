"""Regions and files that cannot be exported: each is reported, the rest is exported."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.exports.project import (
    HEIGHT,
    RING,
    WIDTH,
    Json,
    Project,
    annotation,
    brush,
    result,
    task,
)

BROKEN: list[Json] = [
    result("x", "brushlabels", {"format": "rle", "rle": [0, 0, 1]}, "Tree"),
    result("x", "brushlabels", {"format": "rle", "rle": ["a"]}, "Tree"),
    result("x", "brushlabels", {"format": "rle", "rle": None}, "Tree"),
    result("x", "brushlabels", {"format": "rle", "rle": []}, "Tree"),
    result("x", "bitmasklabels", {"imageDataURL": "data:image/png;base64,AAAA"}, "Tree"),
    result("x", "bitmasklabels", {"imageDataURL": "data:image/png;base64,%%"}, "Tree"),
    result("x", "bitmasklabels", {"imageDataURL": None}, "Tree"),
    result("x", "polygonlabels", {"points": [[1, 1], [2, 2]]}, "Tree"),
    result("x", "polygonlabels", {"points": [[1, 1], [2, 2], [3]]}, "Tree"),
    result("x", "polygonlabels", {"points": [[1, 1], [2, 2], ["a", "b"]]}, "Tree"),
    result("x", "polygonlabels", {"points": None}, "Tree"),
    result("x", "polygonlabels", {}, "Tree"),
    {**brush("x", RING, "Tree"), "value": 7},
    {**brush("x", RING, "Tree"), "original_width": 81},
    {**brush("x", RING, "Tree"), "original_width": None},
    {**brush("x", RING, "Tree"), "original_width": -5},
    {**brush("x", RING, "Tree"), "original_width": 10**8, "original_height": 10**8},
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_region_is_reported_and_the_rest_is_exported(
    project: Project, capsys: pytest.CaptureFixture[str], broken: Json
) -> None:
    formats = ("coco", "yolo", "numpy", "regions", "labels", "semantic", "instances")
    project.export(
        task(annotation(broken, brush("r", RING, "Tree"))), options=("--format", *formats)
    )
    assert project.status == 1
    assert set(project.masks) == {"r"}
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("task 1, region x: ")


def test_results_that_are_none_do_no_harm(project: Project) -> None:
    odd: list[Any] = [None, 5, {}, {"type": "relation"}, {"value": []}]
    shown = annotation(brush("r", RING, "Tree"))
    shown["result"] = odd + shown["result"]
    project.export(task(shown, {"id": 5, "result": None}))
    assert project.status == 0
    assert set(project.masks) == {"r"}


def test_ids_cannot_lead_out_of_the_folder(project: Project) -> None:
    shown: Json = task(annotation(brush("../../r", RING, "../Tree"), number=1))
    shown["id"] = "../../../up"
    shown["data"] = {}
    project.export(shown, options=("--format", "regions", "labels", "instances", "yolo"))
    inside = {path for path in project.out.rglob("*") if path.is_file()}
    everything = {path for path in project.out.parent.rglob("*") if path.is_file()}
    assert everything - inside == {project.file, project.config}
    assert len(inside) == 6


def test_a_mask_without_pixels_is_left_out_and_said(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    erased = brush("r", np.zeros((HEIGHT, WIDTH), bool), "Tree")
    project.export(task(annotation(erased, brush("s", RING, "Tree"))))
    assert project.status == 0
    assert set(project.masks) == {"s"}
    assert "1 masks without a pixel" in capsys.readouterr().out


def test_a_file_that_was_cut_off_is_exported_up_to_there(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.dumps([task(annotation(brush("r", RING, "Tree"))), task(number=2)])
    project.file.write_text(whole[:-20])
    project.run()
    assert project.status == 1
    assert set(project.masks) == {"r"}
    assert "ends in the middle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin with a list"),
        (b"hello", "does not begin with a list"),
        (b'{"a": [1]}', "has no data"),
        (b'[{"image": "a.png", "id": 1}]', "not as JSON-MIN"),
        (b'[{"data": {}}]', "no list of annotations"),
        (b'[{"data": }]', "is not a JSON export"),
    ],
)
def test_an_invalid_export_is_refused_in_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    project.file.write_bytes(content)
    project.run()
    assert project.status == 2
    assert said in capsys.readouterr().err
    assert not (project.out / "coco.json").exists()


def test_a_file_that_is_not_there_is_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run()
    assert project.status == 2
    assert "cannot be read" in capsys.readouterr().err
