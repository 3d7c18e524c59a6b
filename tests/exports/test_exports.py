"""`export_masks`: which masks come out of a Label Studio JSON export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from sam_backend.__main__ import main
from sam_backend.formats import mask_writer, rle
from tests.exports.project import (
    CONFIG,
    RING,
    Project,
    annotation,
    block,
    brush,
    result,
    task,
)
from tests.loopback import always, site
from tests.needs import REPOSITORY


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
