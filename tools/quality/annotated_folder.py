"""Adds pictures with all objects of a label to a folder that `tools.quality.similar` can measure.

    python -m tools.quality.annotated_folder [OPTIONS] FOLDER coco instances_val2017.json val2017
    python -m tools.quality.annotated_folder [OPTIONS] FOLDER nuclei stage1_train

`coco` reads a COCO file and the folder of its pictures. Each label of a picture becomes a picture
of its own. It is left out if the file marks a crowd of it. `nuclei` reads the layout of the Data
Science Bowl 2018: a folder for each picture, with `images` and `masks`. `--names FILE` keeps the
pictures with these names, and `--set` names the domain of pictures that the file does not name.
tools/quality/similar_pictures.txt has the names of the pictures that docs/quality.md measures.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sam_backend.exports import coco_file
from sam_backend.exports.coco_file import CocoFile
from sam_backend.formats.mask import Mask

ID_CHARACTERS = 12  # of the long ids of the Data Science Bowl


@dataclass(frozen=True)
class Annotated:
    """A picture with the masks of all objects of a label."""

    name: str
    label: str
    path: Path
    masks: list[Mask]


def of_coco(file: Path, pictures: Path, names: set[str]) -> Iterator[Annotated]:
    """The pictures of a COCO file. `names` are the wanted ones, or none for all."""
    content = CocoFile.read(file)
    for image in content.images:
        groups = defaultdict(list)
        for annotation in content.annotations(image):
            groups[content.category(annotation) or ""].append(annotation)
        path = pictures / Path(str(image.get("file_name"))).name
        for label, members in groups.items():
            name = f"{image.get('id')}_{label.replace(' ', '')}"
            is_crowd = any(annotation.get("iscrowd") for annotation in members)
            if (not names or name in names) and not is_crowd and path.is_file():
                height, width = coco_file.size(image)
                masks = [coco_file.mask(each, height, width) for each in members]
                yield Annotated(name, label, path, masks)


def of_nuclei(folder: Path, names: set[str]) -> Iterator[Annotated]:
    """The pictures of the Data Science Bowl 2018."""
    for path in sorted(folder.glob("*/images/*.png")):
        name = path.stem[:ID_CHARACTERS]
        if not names or name in names:
            files = sorted((path.parent.parent / "masks").glob("*.png"))
            masks = [np.asarray(Image.open(each).convert("L")) > 0 for each in files]
            yield Annotated(name, "nucleus", path, masks)


def add(folder: Path, domain: str, picture: Annotated) -> None:
    """Writes a picture and its masks, and lists them in index.json."""
    index = folder / "index.json"
    entries = json.loads(index.read_text()) if index.exists() else []
    (folder / domain).mkdir(parents=True, exist_ok=True)
    image = f"{domain}/{picture.name}.png"
    entries = [entry for entry in entries if entry["image"] != image]
    Image.open(picture.path).convert("RGB").save(folder / image)
    for number, mask in enumerate(picture.masks):
        name = f"{domain}/{picture.name}_{number}.png"
        Image.fromarray(mask).save(folder / name)
        entries.append({"image": image, "mask": name, "set": domain, "label": picture.label})
    index.write_text(json.dumps(entries))


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures with all objects of a label.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", type=Path, metavar="FILE", help="lines such as food/91_apple")
    parser.add_argument("--set", default="pictures", help="the domain of the other pictures")
    kinds = parser.add_subparsers(dest="kind", required=True)
    coco = kinds.add_parser("coco")
    coco.add_argument("file", type=Path)
    coco.add_argument("pictures", type=Path)
    kinds.add_parser("nuclei").add_argument("source", type=Path)
    options = parser.parse_args()
    lines = options.names.read_text().split("\n") if options.names else []
    domains = {Path(line).name: str(Path(line).parent) for line in lines if line}
    if options.kind == "coco":
        found = of_coco(options.file, options.pictures, set(domains))
    else:
        found = of_nuclei(options.source, set(domains))
    for picture in found:
        add(options.folder, domains.get(picture.name, options.set), picture)
        print(f"{picture.name}: {len(picture.masks)}")


if __name__ == "__main__":
    main()
