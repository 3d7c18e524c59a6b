"""The modules that a warm click passes, and the way of an image's address through the packages.

`python -m tools.click_path` answers two clicks on an image in this process. The first one shows the
way of the address, because the second one finds the embedding in memory.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from PIL import Image

from sam_backend.images.sources import Source
from sam_backend.images.tasks import Picture
from sam_backend.server.app import create_app
from sam_backend.server.startup import open_services
from sam_backend.settings import Settings
from tools.folders import ROOT

PACKAGE = "sam_backend."
ADDRESS = "/data/local-files/?d=picture.png"
CONFIG = """<View><Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image"><Label value="Car"/></BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="Car"/></KeyPointLabels>
</View>"""


def click(number: int) -> dict[str, Any]:
    """What Label Studio sends for one keypoint. Each number clicks another spot."""
    keypoint = {
        "id": f"p{number}",
        "from_name": "point",
        "to_name": "image",
        "type": "keypointlabels",
        "original_width": 600,
        "original_height": 400,
        "image_rotation": 0,
        "is_positive": True,
        "value": {"x": 40 + number, "y": 50, "width": 0.3, "keypointlabels": ["Car"]},
    }
    task = {"id": 1, "data": {"image": ADDRESS}, "annotations": [], "drafts": []}
    return {
        "tasks": [task],
        "project": "1.1",
        "label_config": CONFIG,
        "params": {"context": {"result": [keypoint]}},
    }


class Watch:
    """Notes each call in the package: its module, and whether it gets the image's address."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.opened: list[str] = []  # SQLite files, also by other threads
        sys.addaudithook(self._audit)
        self.address: list[str] = []  # modules in the order in which they get the address

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "sqlite3.connect":
            self.opened.append(Path(str(arguments[0]).partition("?")[0]).name)

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        module = str(frame.f_globals.get("__name__", ""))
        if event != "call" or not module.startswith(PACKAGE):
            return
        name = module.removeprefix(PACKAGE)
        self.calls[name] += 1
        if has_address(frame) and self.address[-1:] != [name]:
            self.address.append(name)


def has_address(frame: FrameType) -> bool:
    """Whether a call gets the image's address: as text, or in a value that was made from it."""
    return any(
        isinstance(value, Picture | Source) or (isinstance(value, str) and value == ADDRESS)
        for value in frame.f_locals.values()
    )


def path_of(module: str) -> Path:
    return (ROOT / "sam_backend" / Path(*module.split("."))).with_suffix(".py")


def layers() -> dict[str, int]:
    """The layer of each package, from the import contract. 0 is the highest."""
    contract = (ROOT / "pyproject.toml").read_text().partition("\nlayers = [")[2].partition("]")[0]
    rows = re.findall(r'"([^"]+)"', contract)
    return {name.strip(): number for number, row in enumerate(rows) for name in row.split(":")}


def climbs(modules: list[str]) -> int:
    """How often a value goes from a package to a higher one."""
    levels = [layers()[module.partition(".")[0]] for module in modules]
    return sum(upper < lower for lower, upper in pairwise(levels))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows, columns = np.mgrid[:400, :600]
        pixels = np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1)
        content = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(content, "PNG")
        (Path(folder) / "picture.png").write_bytes(content.getvalue())
        models = Path(folder) / "models"
        models.mkdir()
        (models / "mobile_sam").symlink_to(ROOT / "models" / "mobile_sam")
        settings = Settings.from_environment(
            {"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": folder, "MODEL_DIR": str(models)}
        )
        services = open_services(settings)
        client = create_app(settings, services).test_client()
        watches = []
        for number in (1, 2):
            watches.append(Watch())
            sys.setprofile(watches[-1])
            answer = client.post("/predict", json=click(number))
            sys.setprofile(None)
            opened = list(watches[-1].opened)
    assert answer.get_json()["results"][0]["result"], answer.get_json()  # noqa: S101
    first, warm = watches
    print(f"a warm click: {len(warm.calls)} modules, {sum(warm.calls.values())} calls")
    lines = sum(len(path_of(module).read_text().splitlines()) for module in warm.calls)
    print(f"they have {lines} lines")
    for package in layers():
        own = [m for m in warm.calls if m.partition(".")[0] == package]
        if own:
            print(f"  {package}: " + ", ".join(f"{m} ({warm.calls[m]})" for m in own))
    print("SQLite files that it opens: " + (", ".join(opened) or "none"))
    way = " → ".join(first.address)
    print(f"on a first click, the address climbs {climbs(first.address)} times: {way}")


if __name__ == "__main__":
    main()
