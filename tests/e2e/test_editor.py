"""From a click in the editor to an exported mask, in both shapes of label config."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle
from PIL import Image
from playwright.sync_api import expect

from sam_backend.formats.mask import Mask
from tests.e2e.conftest import BackEnd, MakeProject, Project
from tests.e2e.editor import KEYPOINT, RECTANGLE, Editor
from tests.e2e.pictures import Shape, iou
from tools.studio.label_studio import LabelStudio

CONFIGS = ("brush", "brush_labels")


@pytest.fixture(scope="module")
def projects(make_project: MakeProject, back_end: BackEnd) -> dict[str, Project]:
    """A project for each label config."""
    return {config: make_project(config, back_end) for config in CONFIGS}


@pytest.fixture
def project(projects: dict[str, Project]) -> Project:
    """The recommended label config, where nothing depends on which one it is."""
    return projects["brush"]


def open_new_task(editor: Editor, project: Project) -> int:
    task_id = project.new_task()
    editor.open(project.id, task_id)
    return task_id


def masks(results: list[dict[str, Any]]) -> dict[str, Mask]:
    """The masks in results by region id; a region must be the same in all of its results."""
    found: dict[str, Mask] = {}
    for result in results:
        if "rle" not in result["value"]:
            continue
        size = result["original_height"], result["original_width"], 4
        mask = decode_rle(result["value"]["rle"]).reshape(size)[:, :, 3] > 127
        assert np.array_equal(found.setdefault(result["id"], mask), mask)
    return found


def only_mask(prediction: dict[str, Any]) -> tuple[str, Mask]:
    """The id and the mask of a prediction's single region."""
    [(region_id, mask)] = masks(prediction["result"]).items()
    return region_id, mask


def exported(studio: LabelStudio, project: Project, kind: str) -> list[Mask]:
    """The masks in an export of a project: a file for each, zipped when there are several."""
    content = studio.export(project.id, kind)
    files = [content]
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [archive.read(name) for name in archive.namelist()]
    if kind == "BRUSH_TO_PNG":
        return [np.asarray(Image.open(io.BytesIO(file))) > 0 for file in files]
    return [np.load(io.BytesIO(file)) > 0 for file in files]


@pytest.mark.parametrize("config", CONFIGS)
def test_points_make_one_region_that_is_saved_and_exported_as_answered(
    config: str, editor: Editor, studio: LabelStudio, make_project: MakeProject, back_end: BackEnd
) -> None:
    project = make_project(config, back_end)
    task_id = open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")

    region, mask = only_mask(editor.click(*Shape.DISC.centre))
    expect(editor.suggestions).to_have_text("1 suggestions")
    assert iou(mask, Shape.DISC.mask()) > 0.9

    again, wider = only_mask(editor.click(*Shape.PLATE.centre))
    expect(editor.suggestions).to_have_text("1 suggestions")
    assert again == region
    assert wider[Shape.PLATE.mask()].mean() > 0.7

    again, narrower = only_mask(editor.click(*Shape.PLATE.at(0.5, 0.9), negative=True))
    expect(editor.suggestions).to_have_text("1 suggestions")
    assert again == region
    assert narrower.sum() < wider.sum()

    editor.accept()
    editor.submit()
    [annotation] = studio.task(task_id)["annotations"]
    [saved] = masks(annotation["result"]).items()
    assert saved[0] == region
    assert np.array_equal(saved[1], narrower)
    for kind in ("BRUSH_TO_PNG", "BRUSH_TO_NUMPY"):
        files = exported(studio, project, kind)
        assert files
        assert all(np.array_equal(file, narrower) for file in files), kind


@pytest.mark.parametrize("config", CONFIGS)
def test_a_rectangle_makes_the_mask_of_what_it_surrounds(
    config: str, editor: Editor, projects: dict[str, Project]
) -> None:
    open_new_task(editor, projects[config])
    editor.choose(RECTANGLE, "Object")
    for shape in (Shape.RING, Shape.BAR):
        _, mask = only_mask(editor.drag(*shape.box))
        assert iou(mask, shape.mask()) > 0.9
        editor.accept()


def test_a_rectangle_and_a_point_are_one_region(editor: Editor, project: Project) -> None:
    """The editor sends them apart; the back end joins them."""
    open_new_task(editor, project)
    editor.choose(RECTANGLE, "Object")
    _, mask = only_mask(editor.drag(*Shape.PLATE.box))
    editor.choose(KEYPOINT, "Object")

    _, less = only_mask(editor.click(*Shape.PLATE.at(0.2, 0.5), negative=True, over_region=True))

    expect(editor.suggestions).to_have_text("1 suggestions")
    assert not np.array_equal(less, mask)
    assert less[~Shape.PLATE.mask()].mean() < 0.01
    editor.accept()
    expect(editor.regions).to_have_count(1)


def test_a_rectangle_that_waited_in_a_draft_is_joined(editor: Editor, project: Project) -> None:
    open_new_task(editor, project)
    editor.choose(RECTANGLE, "Object")
    with editor.page.expect_response(lambda response: "/drafts" in response.url):
        _, mask = only_mask(editor.drag(*Shape.PLATE.box))
    editor.choose(KEYPOINT, "Object")
    _, joined = only_mask(editor.click(*Shape.PLATE.centre, over_region=True))
    assert iou(joined, mask) > 0.95


@pytest.mark.parametrize("end", ["accept", "reject"])
@pytest.mark.parametrize("first", [KEYPOINT, RECTANGLE])
def test_the_next_object_starts_afresh(
    end: str, first: str, editor: Editor, project: Project
) -> None:
    """At once, before any draft could tell the back end that the first object is done."""
    open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")
    alone = only_mask(editor.click(*Shape.RING.centre))[1]

    open_new_task(editor, project)
    editor.choose(first, "Object")
    done = editor.drag(*Shape.DISC.box) if first == RECTANGLE else editor.click(*Shape.DISC.centre)
    editor.accept() if end == "accept" else editor.reject()
    editor.choose(KEYPOINT, "Object")
    region, mask = only_mask(editor.click(*Shape.RING.centre))

    assert region != only_mask(done)[0]
    assert np.array_equal(mask, alone)


def test_a_deleted_point_is_forgotten(editor: Editor, project: Project) -> None:
    open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")
    alone = only_mask(editor.click(*Shape.RING.centre))[1]

    open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")
    editor.click(*Shape.DISC.centre)
    editor.delete(*Shape.DISC.centre)
    _, mask = only_mask(editor.click(*Shape.RING.centre))

    expect(editor.suggestions).to_have_text("1 suggestions")
    assert np.array_equal(mask, alone)


def test_undo_after_accepting_leaves_a_working_editor(editor: Editor, project: Project) -> None:
    """A region that takes its prompt's id breaks the editor here."""
    open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")
    editor.click(*Shape.DISC.centre)
    editor.accept()
    editor.undo()
    editor.choose(KEYPOINT, "Object")
    editor.click(*Shape.RING.centre)
    expect(editor.image).to_be_visible()
    editor.accept()
