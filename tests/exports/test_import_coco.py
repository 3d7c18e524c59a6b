"""`import_coco`: COCO's masks as tasks in the form that a label config has for masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from sam_backend.__main__ import main
from sam_backend.exports import coco_rle
from sam_backend.formats import mask_reader
from sam_backend.formats.mask import Mask
from tests.needs import REPOSITORY

Json = dict[str, Any]
HEIGHT, WIDTH = 60, 80
SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


def config(control: str) -> str:
    """A control for masks with the labels `Tree` and `car`."""
    labels = '<Label value="Tree"/><Label value="Car" alias="car"/>'
    if control.endswith("Labels"):
        inside = f'<{control} name="tag" toName="image">{labels}</{control}>'
    else:
        inside = (
            f'<{control} name="tag" toName="image"/>'
            f'<Labels name="label" toName="image">{labels}</Labels>'
        )
    return f'<View><Image name="image" value="$photo"/>{inside}</View>'


def ring() -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:35, 5:35] = True
    mask[15:25, 15:25] = False
    return mask


def annotation(segmentation: Any, **more: Any) -> Json:
    return {
        "id": 9,
        "image_id": 5,
        "category_id": 3,
        "segmentation": segmentation,
        "iscrowd": 0,
        **more,
    }


def coco(*annotations: Json, **more: Any) -> Json:
    return {
        "images": [{"id": 5, "file_name": "a/cat 1.jpg", "width": WIDTH, "height": HEIGHT}],
        "annotations": list(annotations),
        "categories": [{"id": 3, "name": "Tree"}, {"id": 4, "name": "car"}],
        **more,
    }


class Import:
    """A COCO file in a folder, and the tasks that `import_coco` makes of it."""

    def __init__(self, folder: Path) -> None:
        self.coco, self.config, self.listed, self.out = (
            folder / name for name in ("coco.json", "config.xml", "tasks.json", "import.json")
        )
        self.status = -1

    def run(
        self, content: object, control: str, *options: str, images: str | None = "/pictures/"
    ) -> None:
        self.coco.write_text(json.dumps(content))
        self.config.write_text(config(control) if "<" not in control else control)
        pictures = ["--tasks", str(self.listed)] if images is None else ["--images", images]
        arguments = ["--config", str(self.config), "--out", str(self.out), *pictures, *options]
        self.status = main(["import_coco", str(self.coco), *arguments])

    @property
    def tasks(self) -> list[Json]:
        found: list[Json] = json.loads(self.out.read_bytes())
        return found

    @property
    def results(self) -> list[Json]:
        [task] = self.tasks
        found: list[Json] = task["annotations"][0]["result"]
        return found


@pytest.fixture
def coming(tmp_path: Path) -> Import:
    return Import(tmp_path)


def uncompressed(mask: Mask) -> list[int]:
    """Run lengths as COCO has them in a list."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = [*([0] if flat[0] else []), *changes.tolist(), flat.size]
    return [int(n) for n in np.diff([0, *ends])]


@pytest.mark.parametrize("control", ["BrushLabels", "BitmaskLabels"])
@pytest.mark.parametrize("form", ["string", "list"])
def test_run_lengths_come_back_to_the_pixel(coming: Import, control: str, form: str) -> None:
    counts: Any = coco_rle.encode(ring())["counts"] if form == "string" else uncompressed(ring())
    coming.run(coco(annotation({"size": [HEIGHT, WIDTH], "counts": counts})), control)
    assert coming.status == 0
    [result] = coming.results
    kind = control.lower()
    assert (result["type"], result["value"][kind]) == (kind, ["Tree"])
    assert np.array_equal(mask_reader.read(result["value"], HEIGHT, WIDTH), ring())


def test_polygons_are_painted_as_pycocotools_does(coming: Import) -> None:
    other = [50.0, 20.5, 70.0, 22.0, 61.0, 47.5]
    coming.run(coco(annotation([SQUARE, other])), "BrushLabels")
    [result] = coming.results
    mask = mask_reader.read(result["value"], HEIGHT, WIDTH)
    runs = coco_masks.merge(coco_masks.frPyObjects([SQUARE, other], HEIGHT, WIDTH))
    theirs = coco_masks.decode(runs) > 0
    assert (mask & theirs).sum() / (mask | theirs).sum() > 0.96  # they differ along slopes
    assert mask[:, :40].sum() == 400


def test_polygons_stay_polygons_where_the_control_takes_them(coming: Import) -> None:
    coming.run(coco(annotation([SQUARE, [50, 20, 70, 20, 61, 47]])), "PolygonLabels")
    assert [result["id"] for result in coming.results] == ["coco-9", "coco-9.2"]
    points = np.array(coming.results[0]["value"]["points"]) / 100 * [WIDTH, HEIGHT]
    assert points.ravel().tolist() == pytest.approx(SQUARE)


def test_run_lengths_become_outlines_where_the_control_takes_polygons(coming: Import) -> None:
    coming.run(coco(annotation(coco_rle.encode(ring()))), "PolygonLabels")
    [result] = coming.results
    assert mask_reader.read(result["value"], HEIGHT, WIDTH).sum() == 900  # the hole is filled


def test_a_bare_control_gets_its_label_beside_it(coming: Import) -> None:
    coming.run(coco(annotation([SQUARE], category_id=4)), "Brush")
    assert [(r["type"], r["id"]) for r in coming.results] == [
        ("brush", "coco-9"),
        ("labels", "coco-9"),
    ]
    assert coming.results[1]["value"]["labels"] == ["car"]


def test_masks_may_come_as_predictions_with_their_scores(coming: Import) -> None:
    coming.run(coco(annotation([SQUARE], score=0.5)), "BrushLabels", "--predictions")
    [task] = coming.tasks
    assert task["predictions"][0]["result"][0]["score"] == 0.5
    assert "annotations" not in task


def test_pictures_lie_below_a_prefix(coming: Import) -> None:
    coming.run(coco(), "BrushLabels", images="/data/local-files/?d=photos/")
    assert coming.tasks == [
        {
            "data": {"photo": "/data/local-files/?d=photos/a/cat%201.jpg"},
            "annotations": [{"result": []}],
        }
    ]


@pytest.mark.parametrize(
    "link", ["/data/upload/1/0123abcd-cat 1.jpg", "s3://bucket/a/cat%201.jpg", "/else/cat 1.jpg"]
)
def test_pictures_are_found_among_tasks_by_their_names(coming: Import, link: str) -> None:
    data = {"photo": link, "more": 7}
    coming.listed.write_text(json.dumps([{"data": {"photo": "b.jpg"}}, {"data": data}]))
    coming.run(coco(), "BrushLabels", images=None)
    assert [task["data"] for task in coming.tasks] == [data]


@pytest.mark.parametrize(("times", "said"), [(0, "no task shows it"), (2, "several tasks show it")])
def test_pictures_that_are_not_one_tasks_are_reported(
    coming: Import, capsys: pytest.CaptureFixture[str], times: int, said: str
) -> None:
    others = [{"data": {"photo": "b.jpg"}}]
    coming.listed.write_text(json.dumps(others + times * [{"data": {"photo": "a/cat 1.jpg"}}]))
    coming.run(coco(), "BrushLabels", images=None)
    assert coming.status == 1
    assert said in capsys.readouterr().err
    assert coming.tasks == []


@pytest.mark.parametrize(
    "broken",
    [
        annotation([]),
        annotation(None),
        annotation("x"),
        annotation([[1, 2, 3]]),
        annotation([[1, 2, 3, 4]]),
        annotation([["a"] * 6]),
        annotation([[1, 1, 1, 1, 1, 1]]),
        annotation({"size": [1, 1], "counts": [0, 1]}),
        annotation({"size": [HEIGHT, WIDTH], "counts": "~~"}),
        annotation([SQUARE], category_id=77),
        annotation([SQUARE], category_id=None),
    ],
)
def test_broken_regions_are_reported_and_the_others_exported(
    coming: Import, capsys: pytest.CaptureFixture[str], broken: Json
) -> None:
    coming.run(coco(broken, annotation([SQUARE], id=10)), "BrushLabels")
    assert coming.status == 1
    assert [result["id"] for result in coming.results] == ["coco-10"]
    [line] = capsys.readouterr().err.splitlines()
    assert "annotation 9: " in line


def test_annotations_of_one_id_stay_apart(coming: Import) -> None:
    coming.run(coco(annotation([SQUARE]), annotation([SQUARE])), "BrushLabels")
    assert [result["id"] for result in coming.results] == ["coco-9", "coco-9-2"]


def test_a_category_without_a_label_is_reported_once(
    coming: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    found = coco(
        annotation([SQUARE]), annotation([SQUARE]), categories=[{"id": 3, "name": "House"}]
    )
    coming.run(found, "BrushLabels")
    assert coming.status == 1
    assert coming.results == []
    [line] = capsys.readouterr().err.splitlines()
    assert line == "category 'House' is left out: the label config has no such label"


@pytest.mark.parametrize(
    ("content", "control", "said"),
    [
        ([], "BrushLabels", "is not a COCO file"),
        ({"images": []}, "BrushLabels", "no annotations"),
        (coco(), "KeyPointLabels", "no control on image 'image' can hold a mask"),
        (coco(), "<View/>", "no <Image>"),
        (coco(), "<View", "not readable XML"),
    ],
)
def test_a_run_that_cannot_start_is_refused_in_one_line(
    coming: Import,
    capsys: pytest.CaptureFixture[str],
    content: object,
    control: str,
    said: str,
) -> None:
    coming.run(content, control)
    assert coming.status == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not coming.out.exists()


def test_an_export_comes_back_with_its_labels_and_unlabeled_masks(
    coming: Import, tmp_path: Path
) -> None:
    first = coco(
        annotation(coco_rle.encode(ring()), id=1),
        annotation([SQUARE], id=2, category_id=4),
        annotation([SQUARE], id=3, category_id=8),
    )
    first["categories"].append({"id": 8, "name": "unlabeled"})
    coming.run(first, "Brush")
    listed = json.loads(coming.out.read_bytes())
    listed[0]["annotations"][0]["id"] = 1
    exported = tmp_path / "export.json"
    exported.write_text(json.dumps(listed))
    out = str(tmp_path / "out")
    options = ["--tasks", str(exported), "--config", str(coming.config), "--out", out]
    assert main(["export_masks", *options]) == 0
    found = json.loads((tmp_path / "out" / "coco.json").read_bytes())
    names = {c["id"]: c["name"] for c in found["categories"]}
    assert [names[a["category_id"]] for a in found["annotations"]] == ["Tree", "car", "unlabeled"]
    assert found["annotations"][0]["segmentation"] == coco_rle.encode(ring())


def test_the_label_configs_of_this_repository_take_masks(coming: Import) -> None:
    for path in sorted((REPOSITORY / "label_configs").glob("*.xml")):
        content = coco(annotation([SQUARE]), categories=[{"id": 3, "name": "Person"}])
        coming.run(content, path.read_text())
        assert coming.status == 0
        assert coming.results
