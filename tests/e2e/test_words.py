"""Words in the editor: a phrase in a smart `<TextArea>` suggests what a text model finds.

The model is small and its weights are random, so its boxes lie anywhere. All else is real.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import MakeProject, Project, StartBackEnd
from tests.e2e.editor import KEYPOINT, Editor
from tests.e2e.pictures import Shape
from tests.e2e.test_editor import only_mask, open_new_task
from tests.engines import text_models
from tests.needs import need
from tools.studio.label_studio import LabelStudio


@pytest.fixture(scope="module")
def project(
    make_project: MakeProject,
    start_back_end: StartBackEnd,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """A project for words, with a back end that has a text model."""
    need("torch", "transformers")
    folder: Path = tmp_path_factory.mktemp("models") / "dino"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text_models.save("grounding-dino", folder)
    return make_project("words", start_back_end({"SAM_TEXT_MODEL": str(folder)}))


def test_a_phrase_suggests_masks_with_its_label_which_one_tick_keeps(
    editor: Editor, studio: LabelStudio, project: Project
) -> None:
    task_id = open_new_task(editor, project)
    results = editor.write("person; disc=Object")["result"]
    labelled = [result for result in results if result["type"] == "labels"]
    words = {result["value"]["labels"][0] for result in labelled}
    assert words == {"Person", "Object"}
    count = len({result["id"] for result in results})
    expect(editor.suggestions).to_have_text(f"{count} suggestions")

    editor.accept()
    editor.submit()
    [annotation] = studio.task(task_id)["annotations"]
    brushes = [result for result in annotation["result"] if result["type"] == "brush"]
    assert len(brushes) == count


def test_clicks_work_beside_a_phrase(editor: Editor, project: Project) -> None:
    open_new_task(editor, project)
    editor.write("person")
    editor.accept()
    editor.choose(KEYPOINT, "Object")
    only_mask(editor.click(*Shape.DISC.centre, over_region=True))
