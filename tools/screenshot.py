"""Takes the README's picture, docs/screenshot.png: the real editor with prompts and masks.

    .venv-test/bin/python -m tools.screenshot

Needs what the end-to-end tests need; the back end is found or started as `make studio` does it.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import Page, sync_playwright

from tests.e2e.editor import KEYPOINT, RECTANGLE, Editor
from tools.label_studio import ROOT, LabelStudio, free_port
from tools.studio import back_end, sample_pictures, set_up

TARGET = ROOT / "docs" / "screenshot.png"
SIZE = (1280, 760)
BITS = 6  # for each colour: not to be seen, and it halves the file


def main() -> None:
    """Set up a sample project of its own, label one picture, and save what is on the screen."""
    port = free_port()
    studio_url = f"http://localhost:{port}"
    with tempfile.TemporaryDirectory() as folder, back_end(studio_url) as url:
        pictures = sample_pictures()
        studio = LabelStudio(Path(folder), port=port)
        try:
            studio.start()
            project_id = set_up(
                studio, url, [path for path in pictures if "astronaut" in path.name]
            )
            picture = photograph(studio, project_id, studio.tasks(project_id)[0]["id"])
        finally:
            studio.stop()
    TARGET.parent.mkdir(exist_ok=True)
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    ImageOps.posterize(image, BITS).save(TARGET, optimize=True)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size // 1000} kB")


def photograph(studio: LabelStudio, project_id: int, task_id: int) -> bytes:
    """A PNG of the editor."""
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
        for name, value in studio.cookies.items():
            context.add_cookies([{"name": name, "value": value, "url": studio.url}])
        page = context.new_page()
        label(page, studio.url, project_id, task_id)
        picture = page.screenshot()
        browser.close()
    return picture


def label(page: Page, url: str, project_id: int, task_id: int) -> None:
    """The helmet by a rectangle, accepted; the astronaut by points, still to be accepted."""
    editor = Editor(page, url)
    editor.open(project_id, task_id, alone=True)
    editor.choose(RECTANGLE, "Object")
    editor.drag(0.53, 0.67, 0.999, 0.999)
    editor.accept()
    editor.choose(KEYPOINT, "Person")
    editor.click(0.45, 0.1)
    editor.click(0.3, 0.7)
    editor.click(0.02, 0.95, negative=True)  # the flag behind
    page.mouse.move(0, 0)


if __name__ == "__main__":
    main()
