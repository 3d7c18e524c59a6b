"""The commands for whole data sets as they are run: real weights, real processes, files."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest
from PIL import Image

from sam_backend.bulk.overlay import mask_of
from sam_backend.formats import rle
from tests.conftest import REPOSITORY, WEIGHTS
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, draw, iou
from tests.fakes import inline
from tests.held import wait_until
from tests.loopback import Route, site

pytestmark = pytest.mark.skipif(
    not (WEIGHTS / "encoder.onnx").exists(), reason="./download_models.sh fetches the weights"
)

LABELS = '<Label value="Car"/><Label value="Bike"/>'
CONFIG = f"""<View><Image name="image" value="$image"/>
  <RectangleLabels name="box" toName="image">{LABELS}</RectangleLabels>
  <KeyPointLabels name="point" toName="image">{LABELS}</KeyPointLabels>
  <BrushLabels name="tag" toName="image">{LABELS}</BrushLabels></View>"""
LIMIT_S = 300
FROM_LOOPBACK = {"ALLOWED_IMAGE_HOSTS": "127.0.0.1", "FETCH_SECONDS": "90"}


def drawn(shapes: Sequence[Shape], folder: Path) -> str:
    path = folder / "drawn.png"
    draw(list(shapes)).save(path)
    return inline(path.read_bytes())


def box_of(shape: Shape, id_: str, label: str = "Car") -> dict[str, Any]:
    """As a detector predicts it: without the image's size."""
    left, top, right, bottom = (100 * side for side in shape.box)
    value = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return {
        "id": id_,
        "type": "rectanglelabels",
        "from_name": "box",
        "to_name": "image",
        "value": {**value, "rotation": 0, "rectanglelabels": [label]},
    }


class Desk:
    """A folder with tasks and a label config, and the commands run on them."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = environ
        self.output = folder / "out.json"
        (folder / "config.xml").write_text(CONFIG)

    def write(self, tasks: list[dict[str, Any]]) -> None:
        (self.folder / "tasks.json").write_bytes(orjson.dumps(tasks))

    def start(self, command: str, *options: str) -> subprocess.Popen[str]:
        environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        environ |= {"MODEL_DIR": str(self.folder / "models"), "MOBILESAM_CHECKPOINT": str(WEIGHTS)}
        environ |= self.environ
        files = ["--tasks", "tasks.json", "--config", "config.xml", "--output", self.output.name]
        files = [] if "--project" in options else files
        return subprocess.Popen(
            [sys.executable, "-m", "sam_backend", command, *files, *options],
            cwd=self.folder,
            env={**environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *options: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        process = self.start(command, *options)
        said, complained = process.communicate(timeout=LIMIT_S)
        return process.returncode, said, complained

    def written(self) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = orjson.loads(self.output.read_bytes())
        return tasks


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def lines_of(journal: Path) -> int:
    """The first line is of the run, and each other one of a task."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def many_tasks(count: int, folder: Path) -> list[dict[str, Any]]:
    """Tasks that each show another picture."""
    tasks = []
    for number in range(count):
        picture = np.asarray(draw([Shape.DISC, Shape.PLATE])).copy()
        picture[:8, : 8 * (number + 1)] = 0
        path = folder / "picture.png"
        Image.fromarray(picture).save(path)
        boxes = [box_of(Shape.DISC, f"d{number}"), box_of(Shape.PLATE, f"p{number}", "Bike")]
        tasks.append(
            {
                "id": number + 1,
                "data": {"image": inline(path.read_bytes())},
                "predictions": [{"model_version": "detector", "result": boxes}],
            }
        )
    return tasks


@contextmanager
def late_pictures(tasks: list[dict[str, Any]]) -> Iterator[threading.Event]:
    """The pictures of these tasks come from a host that waits until the event is set."""
    go = threading.Event()

    def late(content: bytes) -> Route:
        return lambda _auth, _body: (200 if go.wait(LIMIT_S) else 500, {}, content)

    with site() as host:
        for number, task in enumerate(tasks):
            encoded = task["data"]["image"].partition(",")[2]
            host.routes[f"/{number}.png"] = late(base64.b64decode(encoded))
            task["data"]["image"] = f"{host.url}/{number}.png"
        yield go


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


def test_predictions_for_tasks_that_label_studio_has(desk: Desk) -> None:
    desk.write(many_tasks(2, desk.folder))
    assert desk.run("segment_with_prompts", "--predictions-only", "--label", "Bike")[0] == 0
    assert [entry["task"] for entry in desk.written()] == [1, 2]
    assert [[r["id"] for r in entry["result"]] for entry in desk.written()] == [["m-p0"], ["m-p1"]]


def test_killed_and_run_again_nothing_is_missing_or_twice(tmp_path: Path) -> None:
    desk = Desk(tmp_path, **FROM_LOOPBACK)
    tasks = many_tasks(5, desk.folder)
    journal = desk.folder / "out.json.part"
    with late_pictures(tasks[2:]) as go:
        desk.write(tasks)
        process = desk.start("segment_with_prompts")
        wait_until(lambda: process.poll() is not None or lines_of(journal) == 3)
        assert process.poll() is None, process.communicate()[1]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not desk.output.exists()
        journal.write_bytes(journal.read_bytes() + b'["9",true,{"resu')  # killed within a line
        # No worker stays after the run was killed.
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))

        go.set()
        status, said, _ = desk.run("segment_with_prompts", "--workers", "2")
    assert status == 0
    assert "done before" in said
    assert not journal.exists()
    ids = [[r["id"] for r in task["predictions"][1]["result"]] for task in desk.written()]
    assert ids == [[f"m-d{n}", f"m-p{n}"] for n in range(5)]


def test_a_failed_task_is_reported_and_retried(desk: Desk) -> None:
    tasks = many_tasks(3, desk.folder)
    good = tasks[1]["data"]["image"]
    picture = desk.folder / "files" / "late.png"
    picture.parent.mkdir()
    tasks[1]["data"]["image"] = "/data/local-files/?d=late.png"
    tasks[2]["predictions"][0]["result"][0]["value"]["rectanglelabels"] = ["Boat"]
    desk.write(tasks)
    status, said, _ = desk.run("segment_with_prompts")
    assert status == 1
    assert said.startswith("3 tasks: 1 with masks, 2 failed, at least in part; 3 regions\n")
    assert "its address is not known" in said
    assert "label 'Boat' of the prompt is missing" in said
    assert [len(task["predictions"]) for task in desk.written()] == [2, 1, 2]

    tasks[1]["data"]["image"] = good
    desk.write(tasks)
    status, _, complained = desk.run("segment_with_prompts")
    assert status == 2
    assert "belongs to an unfinished run with other options, tasks or weights" in complained


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


def test_a_worker_that_dies_costs_one_task(tmp_path: Path) -> None:
    desk = Desk(tmp_path, **FROM_LOOPBACK)
    tasks = many_tasks(3, desk.folder)
    journal = desk.folder / "out.json.part"
    with late_pictures(tasks[1:2]) as go:
        desk.write(tasks)
        process = desk.start("segment_with_prompts")
        wait_until(lambda: process.poll() is not None or lines_of(journal) == 2)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
        said, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 1
        assert "1 failed, at least in part" in said
        assert "the worker ended with signal 9" in said
        go.set()
        status, said, _ = desk.run("segment_with_prompts")
    assert status == 0
    assert [len(task["predictions"]) for task in desk.written()] == [2, 2, 2]


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
