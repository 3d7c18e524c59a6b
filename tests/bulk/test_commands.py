"""The commands for whole data sets as they are run: real weights, real processes, files."""

from __future__ import annotations

import cv2
import pytest

from sam_backend.bulk.overlay import mask_of
from sam_backend.formats import rle
from tests.bulk.desk import Desk, box_of, drawn, many_tasks
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, iou
from tests.needs import needs_weights

pytestmark = needs_weights


def test_a_detectors_boxes_become_masks(desk: Desk) -> None:
    shapes = [Shape.DISC, Shape.PLATE, Shape.BAR]
    boxes = [box_of(shape, shape.name) for shape in shapes]
    earlier = {"model_version": "detector", "result": boxes, "score": 0.5}
    image = drawn(shapes, desk.folder)
    desk.write([{"id": 3, "data": {"image": image}, "predictions": [earlier]}])
    status, said, _ = desk.run("segment_with_prompts", "--preview", "pictures")
    assert (status, said) == (0, "1 tasks: 1 with masks; 3 regions\n")

    [task] = desk.written()
    assert task["data"] == {"image": image}
    assert task["predictions"][0] == earlier
    prediction = task["predictions"][1]
    assert prediction["model_version"] == "MobileSAM"
    assert 0.5 < prediction["score"] <= 1
    for shape, region in zip(shapes, prediction["result"], strict=True):
        assert region["id"] == f"m-{shape.name}"
        assert (region["type"], region["from_name"]) == ("brushlabels", "tag")
        assert region["value"]["brushlabels"] == ["Car"]
        mask = rle.decode(region["value"]["rle"], HEIGHT, WIDTH)
        assert iou(mask, shape.mask()) > 0.95

    preview = cv2.imread(str(desk.folder / "pictures" / "3.jpg"))
    assert preview is not None
    assert preview.shape[:2] == (HEIGHT, WIDTH)
    assert (desk.folder / "pictures" / "contact-sheet.jpg").is_file()


def test_no_preview_leaves_its_folder(desk: Desk) -> None:
    picture = drawn([Shape.DISC], desk.folder)
    boxes = {"model_version": "detector", "result": [box_of(Shape.DISC, "d")]}
    ids = ["../../outside", "²", 7]
    desk.write([{"id": i, "data": {"image": picture}, "predictions": [boxes]} for i in ids])
    assert desk.run("segment_with_prompts", "--preview", "deep/previews")[0] == 0
    written = {str(path.relative_to(desk.folder)) for path in desk.folder.rglob("*.jpg")}
    names = ("contact-sheet", "outside", "²", "7")
    assert written == {f"deep/previews/{name}.jpg" for name in names}


def test_predictions_for_tasks_that_label_studio_has(desk: Desk) -> None:
    desk.write(many_tasks(2, desk.folder))
    assert desk.run("segment_with_prompts", "--predictions-only", "--label", "Bike")[0] == 0
    assert [entry["task"] for entry in desk.written()] == [1, 2]
    assert [[r["id"] for r in entry["result"]] for entry in desk.written()] == [["m-p0"], ["m-p1"]]


def test_a_dry_run_only_tells(desk: Desk) -> None:
    desk.write(many_tasks(2, desk.folder))
    status, said, _ = desk.run("segment_with_prompts", "--dry-run", "--label", "Car")
    assert (status, said) == (0, "2 tasks: 2 would get masks; 2 regions\n")
    assert not desk.output.exists()
    assert not (desk.folder / "models").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "is not JSON"),
        (b'[{"image": "x"}]', "export the project as JSON"),
        (None, "cannot be read: No such file"),
    ],
)
def test_it_says_why_it_cannot_begin(desk: Desk, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (desk.folder / "tasks.json").write_bytes(content)
    status, said, complained = desk.run("segment_with_prompts")
    assert (status, said) == (2, "")
    assert complained.startswith("segment_with_prompts: ")
    assert complaint in complained
    assert len(complained.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--workers", "0", "'0' is not a whole number from 1 to 1000"),
        ("--min-iou", "2", "'2' is not a number from 0 to 1"),
        ("--devices", "tpu", "DEVICE='tpu' is not one of"),
    ],
)
def test_options_are_checked_before_anything_is_done(
    desk: Desk, option: str, value: str, complaint: str
) -> None:
    status, _, complained = desk.run("segment_everything", option, value)
    assert status == 2
    assert complaint in complained


def test_everything_is_proposed(desk: Desk) -> None:
    desk.write([{"data": {"image": drawn(list(Shape), desk.folder)}}])
    options = "--label", "Bike", "--grid", "8", "--preview", "pictures"
    status, said, _ = desk.run("segment_everything", *options)
    assert status == 0
    assert said.startswith("1 tasks: 1 with masks; ")
    [task] = desk.written()
    [prediction] = task["predictions"]
    regions = prediction["result"]
    scores = [region["score"] for region in regions]
    assert scores == sorted(scores, reverse=True)
    assert {region["value"]["brushlabels"][0] for region in regions} == {"Bike"}
    masks = [mask_of(region, HEIGHT, WIDTH) for region in regions]
    for shape in Shape:
        assert max(iou(mask, shape.mask()) for mask in masks) > 0.85
    assert (desk.folder / "pictures" / "1.jpg").is_file()
