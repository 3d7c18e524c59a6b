"""Tasks whose data names the picture in a part of a part, or only a part of its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import BackEnd
from tests.e2e.editor import KEYPOINT, Editor
from tests.e2e.pictures import Shape, iou
from tests.e2e.test_editor import only_mask
from tests.needs import REPOSITORY
from tools.studio.label_studio import LabelStudio


@pytest.mark.parametrize("value", ["$photo.path", "$photos[1]", "{folder}/$name"])
def test_a_click_finds_the_picture_that_the_editor_shows(
    value: str, editor: Editor, studio: LabelStudio, back_end: BackEnd, picture: Path
) -> None:
    xml = (REPOSITORY / "label_configs" / "brush.xml").read_text()
    uploads = studio.create_project("uploads", xml)
    path = studio.task(studio.import_images(uploads, [picture])[0])["data"]["image"]
    folder, _, name = path.rpartition("/")
    data = {"photo": {"path": path}, "photos": ["none.png", path], "name": name}
    shown = value.format(folder=folder)
    project = studio.create_project(value, xml.replace("$image", shown))
    studio.connect_model(project, back_end.url, "SAM", None)
    [task] = studio.import_tasks(project, [{"data": data}])
    editor.open(project, task)
    editor.choose(KEYPOINT, "Object")
    _, mask = only_mask(editor.click(*Shape.DISC.centre))
    assert iou(mask, Shape.DISC.mask()) > 0.9
