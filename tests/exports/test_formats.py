"""The files of each export format, and their names."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sam_backend.formats import mask_reader
from tests.exports.project import (
    HEIGHT,
    RING,
    WIDTH,
    Project,
    annotation,
    block,
    brush,
    result,
    task,
)


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_coco_has_right_areas_and_boxes_and_keeps_holes_and_parts(
    project: Project, form: str
) -> None:
    mask = RING | block(40, 60, 7, 11)
    project.export(
        task(annotation(brush("r", mask, "Tree"))), options=("--coco-segmentation", form)
    )
    [found] = project.coco["annotations"]
    assert found["area"] == mask.sum()
    assert found["bbox"] == [5, 5, 66, 42]
    assert found["iscrowd"] == 0
    assert np.array_equal(project.masks["r"], mask)
    assert isinstance(found["segmentation"], dict if form == "rle" else list)


def test_categories_are_numbered_as_the_config_has_them(project: Project) -> None:
    project.export(task(annotation(brush("r", RING, "car"), brush("s", RING, "Gone"))))
    names = {c["id"]: c["name"] for c in project.coco["categories"]}
    assert names == {1: "Tree", 2: "car", 3: "Road/Path", 4: "Gone"}


def test_categories_are_numbered_by_the_alphabet_without_a_config(project: Project) -> None:
    project.file.write_text(
        json.dumps(
            [task(annotation(brush("r", RING, "b"), brush("s", RING), brush("t", RING, "a")))]
        )
    )
    project.run()
    names = {c["id"]: c["name"] for c in project.coco["categories"]}
    assert names == {1: "a", 2: "b", 3: "unlabeled"}


def test_a_picture_without_masks_is_there_if_its_size_is_known(project: Project) -> None:
    box = result("b", "rectanglelabels", {"x": 1, "y": 1, "width": 5, "height": 5}, "Tree")
    project.export(task(annotation(box)), options=("--format", "coco", "yolo", "semantic"))
    assert [(i["width"], i["height"]) for i in project.coco["images"]] == [(WIDTH, HEIGHT)]
    assert (project.out / "yolo/labels/ab-cat.txt").read_text() == ""
    assert not project.picture("semantic/task-1-annotation-11.png").any()


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("/data/upload/3/1234abcd-my%20cat.png", "1234abcd-my cat.png"),
        ("/data/local-files/?d=street/0001.jpg", "street/0001.jpg"),
        ("s3://bucket/a/b.png", "a/b.png"),
        ("https://host/pictures/c.jpg?X-Amz-Signature=1", "pictures/c.jpg"),
        ("/tasks/1/resolve/?fileuri=czM6Ly9idWNrZXQvYS9iLnBuZw==", "a/b.png"),
        ("data:image/png;base64,AAAA", "task-1.png"),
        ("/data/local-files/?d=../../etc/c.png", "etc/c.png"),
        ("http://[", "task-1.png"),
        (None, "task-1.png"),
    ],
)
def test_pictures_have_the_names_of_their_files(project: Project, link: Any, name: str) -> None:
    project.export(task(annotation(brush("r", RING, "Tree")), image=link))
    assert [image["file_name"] for image in project.coco["images"]] == [name]


def test_png_files_for_regions_labels_and_maps(project: Project) -> None:
    lower, upper, car = block(0, 0), block(10, 10), block(40, 40)
    shown = annotation(
        brush("a", lower, "Tree"), brush("b", upper, "Road/Path"), brush("c", car, "Tree")
    )
    project.export(task(shown), options=("--format", "regions", "labels", "semantic", "instances"))
    name = "task-1-annotation-11"
    assert np.array_equal(project.picture(f"regions/{name}/Road_Path-b.png"), upper * 255)
    assert np.array_equal(project.picture(f"labels/{name}/Tree.png"), (lower | car) * 255)

    semantic = project.picture(f"semantic/{name}.png")
    legend = json.loads((project.out / "semantic/labels.json").read_bytes())
    assert legend == {"0": "background", "1": "Tree", "2": "car", "3": "Road/Path"}
    assert np.array_equal(semantic == 3, upper)  # it lies on top of what came before
    assert np.array_equal(semantic == 1, (lower | car) & ~upper)

    instances = project.picture(f"instances/{name}.png")
    assert instances.dtype == np.uint16
    assert np.array_equal(instances == 3, car)
    legend = json.loads((project.out / f"instances/{name}.json").read_bytes())
    assert legend["2"] == {"id": "b", "labels": ["Road/Path"]}


def test_numpy_has_an_array_a_region(project: Project) -> None:
    shown = annotation(brush("a", RING, "Tree"), brush("b", block(0, 0), "car"))
    project.export(task(shown), options=("--format", "numpy"))
    with np.load(project.out / "numpy/task-1-annotation-11.npz") as archive:
        assert set(archive.files) == {"Tree-a", "car-b"}
        assert archive["Tree-a"].dtype == bool
        assert np.array_equal(archive["Tree-a"], RING)


def test_yolo_outlines_paint_the_mask(project: Project) -> None:
    mask = RING | block(40, 60, 7, 11)
    project.export(
        task(annotation(brush("r", mask, "car")), image="/data/local-files/?d=a/b.png"),
        options=("--format", "yolo"),
    )
    [line] = (project.out / "yolo/labels/a/b.txt").read_text().splitlines()
    number, *places = line.split()
    assert number == "1"
    outline = np.array(places, float).reshape(-1, 2)
    assert outline.min() >= 0
    assert outline.max() <= 1
    assert np.array_equal(mask_reader.polygon(outline * [WIDTH, HEIGHT], HEIGHT, WIDTH), mask)
    assert '  1: "car"\n' in (project.out / "yolo/data.yaml").read_text()


def test_names_that_are_equal_without_their_odd_characters_stay_apart(project: Project) -> None:
    shown = annotation(brush("a", RING, "Road/Path"), brush("b", block(0, 0), "road path"))
    project.export(task(shown), options=("--format", "labels"))
    files = {path.name for path in (project.out / "labels/task-1-annotation-11").iterdir()}
    assert files == {"Road_Path.png", "road_path-2.png"}
