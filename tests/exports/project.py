"""A project's JSON export, and what `export_masks` makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools.coco import COCO

from sam_backend.__main__ import main
from sam_backend.formats import rle
from sam_backend.formats.mask import Mask

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
