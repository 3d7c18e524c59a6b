"""Click one, get the rest: in the editor, kept with one ✓, and saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from sam_backend.formats.mask import Mask
from tests.clicks.test_similar import DISCS, HEIGHT, PLATES, WIDTH, scene
from tests.e2e.conftest import BackEnd, Project
from tests.e2e.editor import FIND_REST, KEYPOINT, Editor
from tests.e2e.test_editor import masks, only_mask, open_new_task
from tests.needs import REPOSITORY
from tools.studio.label_studio import LabelStudio


@pytest.fixture(scope="module")
def project(
    studio: LabelStudio, back_end: BackEnd, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """Tasks that show discs of one kind, and plates."""
    picture: Path = tmp_path_factory.mktemp("images") / "discs.png"
    Image.fromarray(scene()).save(picture)
    xml = (REPOSITORY / "label_configs" / "find_rest.xml").read_text()
    number = studio.create_project("find_rest", xml)
    model = studio.connect_model(number, back_end.url, "SAM", None)
    return Project(number, model, lambda: studio.import_images(number, [picture])[0])


def place(x: int, y: int) -> tuple[float, float]:
    return x / WIDTH, y / HEIGHT


def discs_in(found: dict[str, Mask]) -> list[int]:
    """The numbers of the discs that masks cover."""
    return sorted(n for n, (x, y) in enumerate(DISCS) if any(m[y, x] for m in found.values()))


def test_a_click_on_one_suggests_it_and_the_rest_which_one_tick_keeps(
    editor: Editor, studio: LabelStudio, project: Project
) -> None:
    task_id = open_new_task(editor, project)
    editor.choose(FIND_REST, "Object")
    editor.click(*place(*DISCS[0]))
    counter = editor.click(*place(*PLATES[0]), negative=True, over_region=True)
    found = masks(counter["result"])
    assert discs_in(found) == [0, 1, 2, 3, 4, 5, 6]
    assert not any(mask[y, x] for mask in found.values() for x, y in PLATES)
    expect(editor.suggestions).to_have_text("7 suggestions")

    editor.accept()
    expect(editor.regions).to_have_count(7)
    editor.submit()
    [annotation] = studio.task(task_id)["annotations"]
    assert discs_in(masks(annotation["result"])) == [0, 1, 2, 3, 4, 5, 6]


def test_a_click_on_an_accepted_mask_suggests_the_rest(editor: Editor, project: Project) -> None:
    open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")
    only_mask(editor.click(*place(*DISCS[0])))
    editor.accept_into_draft()

    editor.choose(FIND_REST, "Object")
    found = masks(editor.click(*place(*DISCS[0]), over_region=True)["result"])
    assert discs_in(found) == [1, 2, 3, 4, 5, 6]
