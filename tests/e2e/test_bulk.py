"""A project's boxes become masks, straight in Label Studio, and show in the editor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sam_backend.formats import rle
from sam_backend.formats.mask import Mask
from tests.clicks.test_similar import DISCS, scene
from tests.e2e.conftest import BackEnd, MakeProject
from tests.e2e.editor import Editor
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, iou
from tests.e2e.test_editor import masks
from tests.needs import REPOSITORY, WEIGHTS, need_weights
from tools.studio.label_studio import LabelStudio

SHAPES = [Shape.DISC, Shape.PLATE]
LIMIT_S = 300


def box_of(shape: Shape) -> dict[str, Any]:
    left, top, right, bottom = (100 * side for side in shape.box)
    value = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
    return {
        "id": shape.name,
        "type": "rectanglelabels",
        "from_name": "tag3",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "value": {**value, "rectanglelabels": ["Object"]},
    }


class Commands:
    """The commands for whole projects, with the operator's token."""

    def __init__(self, studio: LabelStudio, folder: Path) -> None:
        self._environ = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ} | {
            "MODEL_DIR": str(folder),
            "MOBILESAM_CHECKPOINT": str(WEIGHTS),
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": studio.personal_access_token(),
        }

    def run(self, command: str, project: int, *options: str) -> str:
        """What it says at the end."""
        done = subprocess.run(
            [sys.executable, "-m", "sam_backend", command, "--project", str(project), *options],
            cwd=REPOSITORY,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def commands(studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    need_weights()
    return Commands(studio, tmp_path_factory.mktemp("models"))


def new_project(studio: LabelStudio, picture: Path) -> tuple[int, str]:
    """A project without a back end, and the address of a picture that was uploaded to it."""
    xml = (REPOSITORY / "label_configs" / "brush_labels.xml").read_text()
    project = studio.create_project("bulk", xml)
    [task] = studio.import_images(project, [picture])
    return project, str(studio.task(task)["data"]["image"])


def test_a_detectors_boxes_become_masks_once(
    editor: Editor, studio: LabelStudio, commands: Commands, picture: Path
) -> None:
    project, image = new_project(studio, picture)
    boxes = {"model_version": "detector", "result": [box_of(shape) for shape in SHAPES]}
    [task] = studio.import_tasks(project, [{"data": {"image": image}, "predictions": [boxes]}])

    assert "2 tasks: 1 with masks, 1 with nothing to do; 2 regions" in commands.run(
        "segment_with_prompts", project
    )
    again = commands.run("segment_with_prompts", project)
    assert "2 tasks: 0 with masks, 2 with nothing to do; 0 regions" in again

    detected, segmented = sorted(studio.task(task)["predictions"], key=lambda p: p["id"])
    assert (detected["model_version"], segmented["model_version"]) == ("detector", "MobileSAM")
    found = masks(segmented["result"])
    assert set(found) == {"m-DISC", "m-PLATE"}
    for shape in SHAPES:
        assert iou(found[f"m-{shape.name}"], shape.mask()) > 0.95

    studio.show_predictions(project, "MobileSAM")
    editor.open_to_label(project, task)
    expect(editor.regions).to_have_count(2)
    editor.submit()
    [annotation] = studio.task(task)["annotations"]
    assert set(masks(annotation["result"])) == {"m-DISC", "m-PLATE"}


def test_everything_is_proposed_for_chosen_tasks(
    studio: LabelStudio, commands: Commands, picture: Path
) -> None:
    project, image = new_project(studio, picture)
    [chosen, other] = studio.import_tasks(project, [{"data": {"image": image}}] * 2)
    commands.run("segment_everything", project, "--grid", "6", "--task-ids", str(chosen))
    [prediction] = studio.task(chosen)["predictions"]
    found = masks(prediction["result"]).values()
    for shape in SHAPES:
        assert max(iou(mask, shape.mask()) for mask in found) > 0.85
    assert studio.task(other)["predictions"] == []


def test_unlabelled_tasks_get_what_is_like_the_masks_of_a_labelled_one(
    studio: LabelStudio, commands: Commands, tmp_path: Path
) -> None:
    path = tmp_path / "discs.png"
    Image.fromarray(scene()).save(path)
    project, image = new_project(studio, path)
    accepted = {
        "id": "a",
        "type": "brushlabels",
        "from_name": "tag",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "value": {"format": "rle", "rle": rle.encode(whole_disc(0)), "brushlabels": ["Object"]},
    }
    labelled = {"data": {"image": image}, "annotations": [{"result": [accepted]}]}
    _, bare = studio.import_tasks(project, [labelled, {"data": {"image": image}}])
    options = "--label", "Object", "--across", "--task-ids", str(bare)
    assert "1 tasks: 1 with masks" in commands.run("find-similar", project, *options)
    [prediction] = studio.task(bare)["predictions"]
    found = list(masks(prediction["result"]).values())
    for number in range(len(DISCS)):
        assert max(iou(mask, whole_disc(number)) for mask in found) > 0.85
    assert "1 with nothing to do" in commands.run("find-similar", project, *options)


def whole_disc(number: int) -> Mask:
    """A disc of the scene (HEIGHT, WIDTH)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = DISCS[number]
    return np.asarray(np.hypot(columns - x, rows - y) <= 35)


def test_selected_tasks_get_masks_by_retrieve_predictions(
    studio: LabelStudio, back_end: BackEnd, make_project: MakeProject
) -> None:
    project = make_project("brush_labels", back_end)
    image = studio.task(project.new_task())["data"]["image"]
    boxes = {"model_version": "detector", "result": [box_of(Shape.DISC)]}
    tasks = [{"data": {"image": image}, "predictions": [boxes]}] * 2
    chosen = studio.import_tasks(project.id, tasks)
    studio.retrieve_predictions(project.id, chosen)
    for task in chosen:
        [segmented] = [
            prediction
            for prediction in studio.task(task)["predictions"]
            if prediction["model_version"] == "MobileSAM"
        ]
        [mask] = masks(segmented["result"]).values()
        assert iou(mask, Shape.DISC.mask()) > 0.95
