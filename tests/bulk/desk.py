"""A folder with tasks and a label config, and the commands for whole data sets run on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from tests.e2e.pictures import Shape, draw
from tests.fakes import inline
from tests.needs import REPOSITORY, WEIGHTS

LABELS = '<Label value="Car"/><Label value="Bike"/>'
CONFIG = f"""<View><Image name="image" value="$image"/>
  <RectangleLabels name="box" toName="image">{LABELS}</RectangleLabels>
  <KeyPointLabels name="point" toName="image">{LABELS}</KeyPointLabels>
  <BrushLabels name="tag" toName="image">{LABELS}</BrushLabels></View>"""
LIMIT_S = 300


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
