"""Takes docs/output_*.png: one click in the real editor, in each form that a mask can have.

    .venv-test/bin/python -m tools.pictures.outputs

It needs what the end-to-end tests need. It finds or starts the back end as `make studio` does.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.e2e.editor import KEYPOINT, Editor
from tools.folders import ROOT
from tools.pictures.browser import opened_page
from tools.studio.label_studio import LabelStudio, free_port
from tools.studio.sample import back_end, sample_pictures

FOLDER = ROOT / "docs"
CONFIGS = {
    "brush": "brush",
    "polygon": "polygon_labels",
    "bitmask": "bitmask_labels",
    "box": "rectangle_labels",
    "vector": "vector_labels",
}
VIEWPORT = (1280, 900)
WIDTH = 420  # of a picture, pixels
COLOURS = 128  # a palette of its own keeps each picture below 100 kB
CLICK = (0.34, 0.27)  # on the rim of the cup


def main() -> None:
    """Label one picture in a project for each form, and save what is on the screen."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, back_end(f"http://localhost:{port}") as url:
        [cup] = [path for path in sample_pictures() if path.stem == "coffee"]
        studio = LabelStudio(Path(folder), port=port)
        try:
            studio.start()
            photograph(studio, url, cup)
        finally:
            studio.stop()


def photograph(studio: LabelStudio, back_end_url: str, picture: Path) -> None:
    """A PNG of the labelled picture for each form."""
    with opened_page(VIEWPORT, studio) as page:
        for form, config in CONFIGS.items():
            xml = (ROOT / "label_configs" / f"{config}.xml").read_text()
            project_id = studio.create_project(form, xml)
            studio.connect_model(project_id, back_end_url, "SAM")
            [task_id] = studio.import_images(project_id, [picture])
            save(labelled(page, studio.url, project_id, task_id), form)


def labelled(page: Page, url: str, project_id: int, task_id: int) -> bytes:
    """The picture with the accepted mask of one click, as it is on the screen."""
    editor = Editor(page, url)
    editor.open(project_id, task_id, alone=True)
    editor.choose(KEYPOINT, "Person")  # its blue is seen best on this picture
    editor.click(*CLICK)
    editor.accept()
    page.mouse.move(0, 0)
    return page.locator(".konvajs-content").screenshot()


def save(png: bytes, form: str) -> None:
    """Write docs/output_<form>.png, small."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = image.resize((WIDTH, round(image.height * WIDTH / image.width)))
    target = FOLDER / f"output_{form}.png"
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
