"""Masks in the other forms, and masks finished later: in the editor, saved and exported."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from sam_backend.formats.mask import Mask
from tests.e2e.conftest import BackEnd, MakeProject
from tests.e2e.editor import KEYPOINT, Editor
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, iou
from tests.e2e.test_editor import only_mask, open_new_task
from tools.studio.label_studio import LabelStudio


def painted(polygon: list[tuple[float, float]]) -> Mask:
    """The inside of a polygon given in pixels."""
    fine = Image.new("1", (WIDTH * 4, HEIGHT * 4))
    ImageDraw.Draw(fine).polygon([(4 * x, 4 * y) for x, y in polygon], fill=1)
    middles: Mask = np.asarray(fine)[2::4, 2::4]
    return middles


def saved_results(studio: LabelStudio, task_id: int) -> list[dict[str, Any]]:
    [annotation] = studio.task(task_id)["annotations"]
    results: list[dict[str, Any]] = annotation["result"]
    return results


def test_a_polygon_is_saved_and_exported_to_coco(
    editor: Editor, studio: LabelStudio, make_project: MakeProject, back_end: BackEnd
) -> None:
    project = make_project("polygon_labels", back_end)
    task_id = open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")
    answer = editor.click(*Shape.DISC.centre)
    editor.accept()
    editor.submit()

    outline = next(r for r in saved_results(studio, task_id) if r["type"] == "polygonlabels")
    assert np.allclose(outline["value"]["points"], answer["result"][0]["value"]["points"])
    with zipfile.ZipFile(io.BytesIO(studio.export(project.id, "COCO"))) as archive:
        coco = json.loads(archive.read("result.json"))
    [annotation] = coco["annotations"]
    [points] = annotation["segmentation"]
    outlined = painted(list(zip(points[::2], points[1::2], strict=True)))
    assert [c["name"] for c in coco["categories"] if c["id"] == annotation["category_id"]] == [
        "Object"
    ]

    open_new_task(editor, make_project("brush", back_end))
    editor.choose(KEYPOINT, "Object")
    _, mask = only_mask(editor.click(*Shape.DISC.centre))
    assert iou(outlined, mask) > 0.98


def test_a_bitmask_is_saved_as_answered(
    editor: Editor, studio: LabelStudio, make_project: MakeProject, back_end: BackEnd
) -> None:
    if studio.version < (1, 22):
        pytest.skip("this Label Studio has no <BitmaskLabels>")
    task_id = open_new_task(editor, make_project("bitmask_labels", back_end))
    editor.choose(KEYPOINT, "Object")
    editor.click(*Shape.PLATE.centre)
    editor.accept()
    editor.submit()
    result = next(r for r in saved_results(studio, task_id) if r["type"] == "bitmasklabels")
    png = base64.b64decode(result["value"]["imageDataURL"].partition(",")[2])
    alpha = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3] > 0
    assert iou(alpha, Shape.PLATE.mask()) > 0.95


def test_a_keypoint_gets_its_tight_box(
    editor: Editor, studio: LabelStudio, make_project: MakeProject, back_end: BackEnd
) -> None:
    task_id = open_new_task(editor, make_project("rectangle_labels", back_end))
    editor.choose(KEYPOINT, "Object")
    editor.click(*Shape.RING.centre)
    editor.accept()
    editor.submit()
    value = next(r for r in saved_results(studio, task_id) if r["type"] == "rectanglelabels")[
        "value"
    ]
    left, top, right, bottom = Shape.RING.value[1]
    assert value["x"] / 100 * WIDTH == pytest.approx(left, abs=5)
    assert value["y"] / 100 * HEIGHT == pytest.approx(top, abs=5)
    assert value["width"] / 100 * WIDTH == pytest.approx(right - left, abs=8)
    assert value["height"] / 100 * HEIGHT == pytest.approx(bottom - top, abs=8)


def test_an_accepted_mask_is_cut_later_and_stays_one_region(
    editor: Editor, studio: LabelStudio, make_project: MakeProject, back_end: BackEnd
) -> None:
    task_id = open_new_task(editor, make_project("brush", back_end))
    editor.choose(KEYPOINT, "Object")
    editor.click(*Shape.DISC.centre)
    region, both = only_mask(editor.click(*Shape.PLATE.centre))
    editor.accept_into_draft()

    editor.choose(KEYPOINT, "Object")
    again, cut = only_mask(editor.click(*Shape.PLATE.centre, negative=True, over_region=True))
    assert again == region
    assert both[Shape.PLATE.mask()].mean() > 0.7
    assert cut[Shape.PLATE.mask()].mean() < both[Shape.PLATE.mask()].mean() / 3
    assert cut[Shape.DISC.mask()].mean() > 0.9

    editor.accept()
    expect(editor.regions).to_have_count(1)
    editor.submit()
    assert {result["id"] for result in saved_results(studio, task_id)} == {region}
