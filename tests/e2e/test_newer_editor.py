"""The recommended config in an editor that builds contexts as later versions than 1.23.2 do."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import BackEnd, MakeProject
from tests.e2e.editor import KEYPOINT, RECTANGLE, Editor
from tests.e2e.pictures import Shape, iou
from tests.e2e.test_editor import masks, open_new_task

# A smart rectangle's context is every labelled rectangle of its control, of all labels and pages.
AS_LATER_VERSIONS = """
const send = window.fetch;
window.fetch = (address, options) => {
  if (String(address.url ?? address).includes("/interactive-annotating")) {
    const body = JSON.parse(options.body);
    const drawn = body.context.result.find((region) => region.type.startsWith("rectangle"));
    if (drawn) {
      body.context.result = dataManager.lsf.currentAnnotation.serializeAnnotation().filter(
        (region) => region.type === "rectanglelabels" && region.from_name === drawn.from_name
      );
      window.rectanglesSent = body.context.result.length;
    }
    options = { ...options, body: JSON.stringify(body) };
  }
  return send(address, options);
};
"""


@pytest.mark.parametrize("version", ["1.23.2", "later"])
def test_rectangles_of_two_labels_and_a_keypoint(
    editor: Editor, make_project: MakeProject, back_end: BackEnd, version: str
) -> None:
    if version == "later":
        editor.page.add_init_script(AS_LATER_VERSIONS)
    editor.label_rows = {KEYPOINT: 0, RECTANGLE: 1}
    open_new_task(editor, make_project("brush_and_boxes", back_end))
    editor.choose(RECTANGLE, "Object")
    [disc] = masks(editor.drag(*Shape.DISC.box)["result"]).values()
    assert iou(disc, Shape.DISC.mask()) > 0.95
    both = masks(editor.drag(*Shape.PLATE.box)["result"])
    assert len(both) == 2
    editor.choose(RECTANGLE, "Person")
    [ring] = masks(editor.drag(*Shape.RING.box)["result"]).values()
    assert iou(ring, Shape.RING.mask()) > 0.9
    if version == "later":
        assert editor.page.evaluate("window.rectanglesSent") == 3
    editor.choose(KEYPOINT, "Person")
    [refined] = masks(editor.click(*Shape.RING.at(0.5, 0.5), over_region=True)["result"]).values()
    assert iou(refined, Shape.RING.mask()) > 0.9
