"""`export_masks`: what comes out of a Label Studio JSON export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from sam_backend.__main__ import main
from sam_backend.formats import mask_reader, mask_writer, rle
from sam_backend.formats.mask import Mask
from tests.conftest import REPOSITORY
from tests.loopback import always, site

Json = dict[str, Any]
HEIGHT, WIDTH = 60, 80

CONFIG = """
<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="tag" toName="image">
    <Label value="Tree"/><Label value="Car" alias="car"/><Label value="Road/Path"/>
  </BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true">
    <Label value="Tree"/><Label value="Car" alias="car"/>
  </KeyPointLabels>
</View>
"""


def block(top: int, left: int, height: int = 20, width: int = 20) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


RING = block(5, 5, 30, 30) & ~block(15, 15, 10, 10)


def result(region_id: str, kind: str, value: Json, *labels: str, **more: Any) -> Json:
    return {
        "id": region_id,
        "type": kind,
        "from_name": "tag",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {**value, **({kind: list(labels)} if labels else {})},
        **more,
    }


def brush(region_id: str, mask: Mask, *labels: str, **more: Any) -> Json:
    value = {"format": "rle", "rle": rle.encode(mask)}
    return result(region_id, "brushlabels", value, *labels, **more)


def annotation(*results: Json, number: int = 11, **more: Any) -> Json:
    return {"id": number, "was_cancelled": False, "result": list(results), **more}


def task(*annotations: Json, number: int = 1, image: Any = "/data/upload/3/ab-cat.png") -> Json:
    return {"id": number, "data": {"image": image}, "annotations": list(annotations)}


class Project:
    """A JSON export in a folder, and what `export_masks` makes of it."""

    def __init__(self, folder: Path) -> None:
        self.file, self.config, self.out = (folder / n for n in ("tasks.json", "config.xml", "out"))
        self.config.write_text(CONFIG)
        self.status = -1

    def export(self, *tasks: Any, options: tuple[str, ...] = ()) -> None:
        self.file.write_text(json.dumps(list(tasks), indent=1))
        self.run("--config", str(self.config), *options)

    def run(self, *options: str) -> None:
        source = ("export_masks", "--tasks", str(self.file), "--out", str(self.out))
        self.status = main([*source, *options])

    @property
    def coco(self) -> Json:
        found: Json = json.loads((self.out / "coco.json").read_bytes())
        return found

    @property
    def masks(self) -> dict[str, Mask]:
        """By region id, as pycocotools reads them."""
        coco = COCO(str(self.out / "coco.json"))
        return {a["region_id"]: coco.annToMask(a) > 0 for a in coco.anns.values()}

    @property
    def labels(self) -> dict[str, str]:
        names = {c["id"]: c["name"] for c in self.coco["categories"]}
        return {a["region_id"]: names[a["category_id"]] for a in self.coco["annotations"]}

    def picture(self, path: str) -> npt.NDArray[Any]:
        with Image.open(self.out / path) as image:
            return np.asarray(image)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_mask_that_is_saved_for_every_control_is_exported_once(project: Project) -> None:
    mask = brush("r", RING, "Tree")
    twin = brush("r", RING)
    twin |= {"type": "keypointlabels", "from_name": "point"}
    twin["value"]["keypointlabels"] = ["Tree"]
    prompt = result("p", "keypointlabels", {"x": 5, "y": 5}, "Tree")
    project.export(task(annotation(twin, mask, prompt)))
    assert project.status == 0
    assert np.array_equal(project.masks["r"], RING)
    assert project.labels == {"r": "Tree"}


def test_a_shared_labels_control_names_the_mask(project: Project) -> None:
    value = {"format": "rle", "rle": rle.encode(RING)}
    both = (
        result("r", "brush", value),
        result("r", "choices", {"choices": ["blurred"]}),
        result("r", "labels", {**value, "labels": ["car"]}),
    )
    project.export(task(annotation(*both)))
    assert project.labels == {"r": "car"}
    assert len(project.masks) == 1


def test_parts_of_one_object_are_one_annotation(project: Project) -> None:
    whole = block(5, 5) | block(35, 50)
    parts = [
        result(name, "polygonlabels", value, "Tree")
        for name, value in zip(("m-a", "m-a.2"), mask_writer.polygons(whole, 1.0), strict=True)
    ]
    other = result("m-a.3", "polygonlabels", mask_writer.polygons(block(0, 60), 1.0)[0], "car")
    project.export(task(annotation(*parts, other)))
    trees = [a for a in project.coco["annotations"] if a["category_id"] == 1]
    assert [a["area"] for a in trees] == [800]
    assert len(project.coco["annotations"]) == 2  # one that was given another label is another


def test_bitmasks_are_read(project: Project) -> None:
    [value] = mask_writer.bitmask(RING)
    project.export(task(annotation(result("r", "bitmasklabels", value, "Tree"))))
    assert np.array_equal(project.masks["r"], RING)


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


def test_skipped_annotations_are_left_out(project: Project) -> None:
    skipped = annotation(brush("r", RING, "Tree"), was_cancelled=True)
    project.export(task(skipped, annotation(brush("s", RING, "Tree"), number=12)))
    assert set(project.masks) == {"s"}


def test_of_several_annotations_all_or_the_latest_are_taken(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = task(
        annotation(brush("new", RING, "Tree"), number=12, updated_at="2026-11-02T00:00:00Z"),
        annotation(brush("old", RING, "Tree"), number=11, updated_at="2026-11-01T00:00:00Z"),
    )
    project.export(shown)
    assert set(project.masks) == {"old", "new"}
    assert len(project.coco["images"]) == 1
    assert "1 tasks have several annotations" in capsys.readouterr().out
    project.export(shown, options=("--annotations", "latest"))
    assert set(project.masks) == {"new"}


def test_each_page_of_a_task_is_a_picture(project: Project) -> None:
    pages = [brush("r", RING, "Tree", item_index=0), brush("s", RING, "Tree", item_index=2)]
    links = [f"s3://bucket/scans/{n}.png" for n in range(3)]
    project.export(task(annotation(*pages), image=links))
    files = [image["file_name"] for image in project.coco["images"]]
    assert files == ["scans/0.png", "scans/2.png"]


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


BROKEN: list[Json] = [
    result("x", "brushlabels", {"format": "rle", "rle": [0, 0, 1]}, "Tree"),
    result("x", "brushlabels", {"format": "rle", "rle": ["a"]}, "Tree"),
    result("x", "brushlabels", {"format": "rle", "rle": None}, "Tree"),
    result("x", "brushlabels", {"format": "rle", "rle": []}, "Tree"),
    result("x", "bitmasklabels", {"imageDataURL": "data:image/png;base64,AAAA"}, "Tree"),
    result("x", "bitmasklabels", {"imageDataURL": "data:image/png;base64,%%"}, "Tree"),
    result("x", "bitmasklabels", {"imageDataURL": None}, "Tree"),
    result("x", "polygonlabels", {"points": [[1, 1], [2, 2]]}, "Tree"),
    result("x", "polygonlabels", {"points": [[1, 1], [2, 2], [3]]}, "Tree"),
    result("x", "polygonlabels", {"points": [[1, 1], [2, 2], ["a", "b"]]}, "Tree"),
    result("x", "polygonlabels", {"points": None}, "Tree"),
    result("x", "polygonlabels", {}, "Tree"),
    {**brush("x", RING, "Tree"), "value": 7},
    {**brush("x", RING, "Tree"), "original_width": 81},
    {**brush("x", RING, "Tree"), "original_width": None},
    {**brush("x", RING, "Tree"), "original_width": -5},
    {**brush("x", RING, "Tree"), "original_width": 10**8, "original_height": 10**8},
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_region_is_reported_and_the_rest_is_exported(
    project: Project, capsys: pytest.CaptureFixture[str], broken: Json
) -> None:
    formats = ("coco", "yolo", "numpy", "regions", "labels", "semantic", "instances")
    project.export(
        task(annotation(broken, brush("r", RING, "Tree"))), options=("--format", *formats)
    )
    assert project.status == 1
    assert set(project.masks) == {"r"}
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("task 1, region x: ")


def test_results_that_are_none_do_no_harm(project: Project) -> None:
    odd: list[Any] = [None, 5, {}, {"type": "relation"}, {"value": []}]
    shown = annotation(brush("r", RING, "Tree"))
    shown["result"] = odd + shown["result"]
    project.export(task(shown, {"id": 5, "result": None}))
    assert project.status == 0
    assert set(project.masks) == {"r"}


def test_ids_cannot_lead_out_of_the_folder(project: Project) -> None:
    shown: Json = task(annotation(brush("../../r", RING, "../Tree"), number=1))
    shown["id"] = "../../../up"
    shown["data"] = {}
    project.export(shown, options=("--format", "regions", "labels", "instances", "yolo"))
    inside = {path for path in project.out.rglob("*") if path.is_file()}
    everything = {path for path in project.out.parent.rglob("*") if path.is_file()}
    assert everything - inside == {project.file, project.config}
    assert len(inside) == 6


def test_a_mask_without_pixels_is_left_out_and_said(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    erased = brush("r", np.zeros((HEIGHT, WIDTH), bool), "Tree")
    project.export(task(annotation(erased, brush("s", RING, "Tree"))))
    assert project.status == 0
    assert set(project.masks) == {"s"}
    assert "1 masks without a pixel" in capsys.readouterr().out


def test_a_file_that_was_cut_off_is_exported_up_to_there(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.dumps([task(annotation(brush("r", RING, "Tree"))), task(number=2)])
    project.file.write_text(whole[:-20])
    project.run()
    assert project.status == 1
    assert set(project.masks) == {"r"}
    assert "ends in the middle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin with a list"),
        (b"hello", "does not begin with a list"),
        (b'{"a": [1]}', "has no data"),
        (b'[{"image": "a.png", "id": 1}]', "not as JSON-MIN"),
        (b'[{"data": {}}]', "no list of annotations"),
        (b'[{"data": }]', "is not a JSON export"),
    ],
)
def test_an_invalid_export_is_refused_in_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    project.file.write_bytes(content)
    project.run()
    assert project.status == 2
    assert said in capsys.readouterr().err
    assert not (project.out / "coco.json").exists()


def test_a_file_that_is_not_there_is_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run()
    assert project.status == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_project_is_read_through_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps([task(annotation(brush("r", RING, "car")))]).encode()
    with site() as studio:
        answer = json.dumps({"id": 7, "label_config": CONFIG}).encode()
        studio.routes["/api/projects/7"] = always(200, answer)
        studio.routes["/api/projects/7/export?exportType=JSON"] = always(200, content)
        monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "legacy")
        assert main(["export_masks", "--project", "7", "--out", str(tmp_path)]) == 0
    coco = json.loads((tmp_path / "coco.json").read_bytes())
    assert [a["category_id"] for a in coco["annotations"]] == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["coco.json"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_ten_thousand_regions_take_no_more_memory_than_a_thousand(tmp_path: Path) -> None:
    script = (
        "import sys; from sam_backend.__main__ import main; status = main(sys.argv[1:]);"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]);"
        "sys.exit(status)"
    )
    results = [brush(f"r{n}", RING, "Tree") for n in range(20)]
    twins = [{**r, "type": "keypointlabels", "from_name": "point"} for r in results]
    shown = json.dumps(task(annotation(*results, *twins))).encode()
    peaks = []
    for tasks in (50, 500):
        file = tmp_path / f"{tasks}.json"
        file.write_bytes(b"[" + b",".join([shown] * tasks) + b"]")
        out = tmp_path / f"out-{tasks}"
        arguments = ["export_masks", "--tasks", str(file), "--out", str(out)]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=REPOSITORY,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            check=True,
        )
        told, peak = done.stdout.splitlines()
        assert told.startswith(f"{20 * tasks} masks on {tasks} pictures")
        peaks.append(int(peak))
    assert file.stat().st_size > 10_000_000
    assert peaks[1] - peaks[0] < 10_000  # kB
    runs = json.loads((out / "coco.json").read_bytes())["annotations"][-1]["segmentation"]
    assert np.array_equal(coco_masks.decode(runs) > 0, RING)
