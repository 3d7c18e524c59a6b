"""`find_similar`: what is like the accepted masks of a data set, in whole processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from sam_backend.formats import rle
from tests.bulk.desk import Desk
from tests.fakes import inline
from tests.needs import needs_weights

pytestmark = needs_weights


def plates(desk: Desk) -> tuple[str, list[tuple[int, int]], dict[str, Any]]:
    """An image with plates, their places, and the accepted mask of the first one."""
    pixels = np.full((240, 400, 3), 200, np.uint8)
    places = [(x, y) for x in (40, 120, 200, 280, 360) for y in (60, 180)]
    for place in places:
        cv2.circle(pixels, place, 22, (70, 40, 120), -1)
    Image.fromarray(cv2.GaussianBlur(pixels, (5, 5), 0)).save(desk.folder / "plates.png")
    image = inline((desk.folder / "plates.png").read_bytes())
    example = cv2.circle(np.zeros((240, 400), np.uint8), places[0], 22, 1, -1) > 0
    accepted = {
        "id": "a",
        "type": "brushlabels",
        "from_name": "tag",
        "to_name": "image",
        "original_width": 400,
        "original_height": 240,
        "value": {"format": "rle", "rle": rle.encode(example), "brushlabels": ["Car"]},
    }
    return image, places, accepted


def test_the_rest_of_a_kind_is_found_in_tasks_with_an_example(desk: Desk) -> None:
    image, places, accepted = plates(desk)
    annotated = {
        "id": 1,
        "data": {"image": image},
        "annotations": [{"id": 1, "result": [accepted]}],
    }
    desk.write([annotated, {"id": 2, "data": {"image": image}}])
    status, said, _ = desk.run("find-similar", "--label", "Car")
    assert status == 1
    assert "2 tasks: 1 with masks, 1 failed, at least in part; 9 regions" in said
    assert "label at least one object in each task, or add --across (task 2)" in said
    desk.write([annotated])
    desk.output.with_name("out.json.part").unlink()
    assert desk.run("find_similar", "--label", "Car")[0] == 0
    [task] = desk.written()
    masks = [rle.decode(r["value"]["rle"], 240, 400) for r in task["predictions"][0]["result"]]
    assert sorted(next(p for p in places if mask[p[::-1]]) for mask in masks) == sorted(places[1:])


def test_with_across_the_others_get_what_is_like_the_masks_of_a_task_with_examples(
    desk: Desk,
) -> None:
    image, places, accepted = plates(desk)
    annotated = {"data": {"image": image}, "annotations": [{"id": 1, "result": [accepted]}]}
    desk.write([{"id": 1, "data": {"image": image}}, {"id": 2, **annotated}])
    assert desk.run("find-similar", "--label", "Car", "--across", "--task-ids", "1")[0] == 0
    [task] = desk.written()
    masks = [rle.decode(r["value"]["rle"], 240, 400) for r in task["predictions"][0]["result"]]
    assert sorted(next(p for p in places if mask[p[::-1]]) for mask in masks) == sorted(places)


def test_without_weights_across_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, MOBILESAM_CHECKPOINT=str(tmp_path / "nothing"))
    desk.write([{"id": 1, "data": {"image": "a.png"}}])
    status, _, complained = desk.run("find-similar", "--label", "Car", "--across")
    assert status == 2
    assert str(tmp_path / "nothing") in complained
    assert len(complained.splitlines()) == 1
