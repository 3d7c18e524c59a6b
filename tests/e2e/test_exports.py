"""A real project's masks in files, beside Label Studio's own exports, and back again."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import expect
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from sam_backend.formats import mask_reader, mask_writer, rle
from sam_backend.formats.mask import Mask
from tests.e2e.conftest import BackEnd, MakeProject, Project
from tests.e2e.editor import KEYPOINT, Editor
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, iou
from tests.e2e.test_editor import open_new_task
from tests.needs import REPOSITORY
from tools.studio.label_studio import LabelStudio

Run = Callable[..., str]
Pixels = npt.NDArray[np.uint8]
FORMATS = ("coco", "regions", "numpy")


@pytest.fixture
def run(studio: LabelStudio) -> Run:
    """Runs a command of `python -m sam_backend` with a token for Label Studio; what it said."""
    environ = dict(os.environ)
    environ |= {
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": studio.legacy_token,
    }

    def call(*arguments: object) -> str:
        command = [sys.executable, "-m", "sam_backend", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,  # so that what it said can be shown
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def with_hole(mask: Mask) -> Mask:
    """The mask without what is around its middle."""
    rows, columns = np.nonzero(mask)
    y, x = int(rows.mean()), int(columns.mean())
    holed: Mask = mask.copy()
    holed[y - 20 : y + 20, x - 20 : x + 20] = False
    return holed


TWO_PARTS = with_hole(Shape.RING.mask()) | Shape.BAR.mask()


def add_annotated_task(
    studio: LabelStudio, project: Project, results: list[dict[str, Any]]
) -> None:
    image = studio.task(project.new_task())["data"]["image"]
    task = {"data": {"image": image}, "annotations": [{"result": results}]}
    studio.import_tasks(project.id, [task])


def region(
    region_id: str, control: str, kind: str, value: dict[str, Any], label: str
) -> dict[str, Any]:
    return {
        "id": region_id,
        "from_name": control,
        "to_name": "image",
        "type": kind,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {**value, kind: [label]},
    }


def read_png(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def unzipped(studio: LabelStudio, project: Project, export_type: str) -> list[Pixels]:
    """The masks in one of Label Studio's own exports."""
    read = read_png if export_type.endswith("PNG") else lambda content: np.load(io.BytesIO(content))
    with zipfile.ZipFile(io.BytesIO(studio.export(project.id, export_type))) as archive:
        return [read(archive.read(name)) for name in archive.namelist()]


def masks_in(coco: COCO) -> list[tuple[str, Mask]]:
    """The label and mask of each annotation, by size."""
    found: list[tuple[str, Mask]] = [
        (coco.cats[annotation["category_id"]]["name"], coco.annToMask(annotation) > 0)
        for annotation in coco.anns.values()
    ]
    return sorted(found, key=lambda item: int(item[1].sum()))


def same(some: list[tuple[str, Mask]], others: list[tuple[str, Mask]]) -> bool:
    labels = [label for label, _ in some] == [label for label, _ in others]
    pairs = zip(some, others, strict=True)
    return labels and all(np.array_equal(one, other) for (_, one), (_, other) in pairs)


def test_brushes_are_what_label_studio_exports_and_each_is_there_once(
    editor: Editor,
    studio: LabelStudio,
    make_project: MakeProject,
    back_end: BackEnd,
    run: Run,
    tmp_path: Path,
) -> None:
    project = make_project("brush_labels", back_end)
    open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")
    editor.click(*Shape.DISC.centre)
    editor.accept()
    editor.submit()
    painted = {"format": "rle", "rle": rle.encode(TWO_PARTS)}
    add_annotated_task(studio, project, [region("r", "tag", "brushlabels", painted, "Person")])

    said = run("export_masks", "--project", project.id, "--out", tmp_path, "--format", *FORMATS)
    assert said.startswith("2 masks on 2 pictures")

    coco = COCO(str(tmp_path / "coco.json"))
    ours = masks_in(coco)
    assert {label for label, _ in ours} == {"Object", "Person"}
    assert np.array_equal(dict(ours)["Person"], TWO_PARTS)
    assert {i["file_name"].rpartition("-")[2] for i in coco.imgs.values()} == {"shapes.png"}

    # Label Studio writes a mask for every control; without repetitions, they are the same.
    painted_masks = {mask.tobytes() for _, mask in ours}
    assert len(painted_masks) == 2
    assert {(p > 0).tobytes() for p in unzipped(studio, project, "BRUSH_TO_PNG")} == painted_masks
    assert {(a > 0).tobytes() for a in unzipped(studio, project, "BRUSH_TO_NUMPY")} == painted_masks
    written = [read_png(path.read_bytes()) for path in (tmp_path / "regions").rglob("*.png")]
    assert sorted((picture > 0).tobytes() for picture in written) == sorted(painted_masks)
    arrays = []
    for path in (tmp_path / "numpy").iterdir():
        with np.load(path) as archive:
            arrays += [archive[name] for name in archive.files]
    assert sorted(array.tobytes() for array in arrays) == sorted(painted_masks)


def test_polygons_are_those_of_label_studios_coco(
    studio: LabelStudio, make_project: MakeProject, back_end: BackEnd, run: Run, tmp_path: Path
) -> None:
    project = make_project("polygon_labels", back_end)
    outlines = mask_writer.polygons(Shape.DISC.mask() | Shape.PLATE.mask(), 1.0)
    assert len(outlines) == 2
    results = [
        region(name, "outline", "polygonlabels", value, "Animal")
        for name, value in zip(("m-a", "m-a.2"), outlines, strict=True)
    ]
    add_annotated_task(studio, project, results)
    run("export_masks", "--project", project.id, "--out", tmp_path)
    [(label, mask)] = masks_in(COCO(str(tmp_path / "coco.json")))
    assert label == "Animal"

    with zipfile.ZipFile(io.BytesIO(studio.export(project.id, "COCO"))) as archive:
        theirs = json.loads(archive.read("result.json"))["annotations"]
    polygons = [polygon for annotation in theirs for polygon in annotation["segmentation"]]
    their_mask = coco_masks.decode(
        coco_masks.merge(coco_masks.frPyObjects(polygons, HEIGHT, WIDTH))
    )
    assert iou(mask, their_mask > 0) > 0.99
    assert iou(mask, Shape.DISC.mask() | Shape.PLATE.mask()) > 0.98


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_masks_come_back_from_coco_to_the_pixel(
    studio: LabelStudio,
    make_project: MakeProject,
    back_end: BackEnd,
    run: Run,
    tmp_path: Path,
    form: str,
) -> None:
    project = make_project("brush_labels", back_end)
    painted = {"format": "rle", "rle": rle.encode(TWO_PARTS)}
    small = {"format": "rle", "rle": rle.encode(with_hole(Shape.PLATE.mask()))}
    add_annotated_task(
        studio,
        project,
        [
            region("a", "tag", "brushlabels", painted, "Person"),
            region("b", "tag", "brushlabels", small, "Object"),
        ],
    )
    there, back = tmp_path / "there", tmp_path / "back"
    run("export_masks", "--project", project.id, "--out", there, "--coco-segmentation", form)
    listed = tmp_path / "tasks.json"
    listed.write_bytes(studio.export(project.id, "JSON"))
    config = REPOSITORY / "label_configs" / "bitmask_labels.xml"
    coming = tmp_path / "import.json"
    run("import_coco", there / "coco.json", "--config", config, "--tasks", listed, "--out", coming)

    other = make_project("bitmask_labels", back_end)
    studio.import_tasks(other.id, json.loads(coming.read_bytes()))
    run("export_masks", "--project", other.id, "--out", back)
    first, second = (masks_in(COCO(str(folder / "coco.json"))) for folder in (there, back))
    assert len(first) == 2
    assert same(first, second)


def test_a_vector_is_saved_exported_and_imported_again(
    editor: Editor,
    studio: LabelStudio,
    make_project: MakeProject,
    back_end: BackEnd,
    run: Run,
    tmp_path: Path,
) -> None:
    project = make_project("vector_labels", back_end)
    open_new_task(editor, project)
    editor.choose(KEYPOINT, "Object")
    answer = editor.click(*Shape.DISC.centre)
    editor.accept()
    editor.submit()
    there, back = tmp_path / "there", tmp_path / "back"
    run("export_masks", "--project", project.id, "--out", there)
    [(label, mask)] = masks_in(COCO(str(there / "coco.json")))
    assert label == "Object"
    assert iou(mask, Shape.DISC.mask()) > 0.95
    [region] = answer["result"]
    outline = mask_reader.read(region["value"], HEIGHT, WIDTH)
    assert np.array_equal(mask, outline)

    config = REPOSITORY / "label_configs" / "vector_labels.xml"
    listed, coming = tmp_path / "tasks.json", tmp_path / "import.json"
    listed.write_bytes(studio.export(project.id, "JSON"))
    run("import_coco", there / "coco.json", "--config", config, "--tasks", listed, "--out", coming)
    other = make_project("vector_labels", back_end)
    [task_id] = studio.import_tasks(other.id, json.loads(coming.read_bytes()))
    editor.open_to_label(other.id, task_id)
    expect(editor.regions).to_have_count(1)
    run("export_masks", "--project", other.id, "--out", back)
    [(_, again)] = masks_in(COCO(str(back / "coco.json")))
    assert iou(again, mask) > 0.98
