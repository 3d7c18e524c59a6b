"""Films the README's pictures: clicks in the real editor and their masks.

    .venv-test/bin/python -m tools.pictures.clicks

It needs what the end-to-end tests need. It finds or starts the back end as `make studio` does.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.e2e.editor import FIND_REST, KEYPOINT, RECTANGLE, Editor
from tools.folders import ROOT
from tools.pictures.browser import opened_page
from tools.studio.label_studio import LabelStudio, free_port
from tools.studio.sample import back_end, sample_pictures, set_up

VIEW = (1280, 760)  # of the browser, CSS pixels
SIZE = (1024, 608)  # of the film, pixels
QUALITY = 75
STEPS = 5  # frames of one movement of the mouse

COIN = (0.116, 0.18)  # the middle of one coin
PAINT_MS = 400  # the editor draws a mask a moment after it has the answer

# A screenshot has no mouse pointer, so the page draws one.
POINTER = """() => {
    const pointer = document.createElement("div");
    pointer.style.cssText = "position:fixed;z-index:2147483647;pointer-events:none";
    pointer.innerHTML = `<svg width="24" height="32" viewBox="0 0 24 32"><path
        d="M2 2v22l5-5 4 10 4-2-4-9h8z" fill="#fff" stroke="#000" stroke-width="2"/></svg>`;
    document.body.append(pointer);
    addEventListener("mousemove", event => {
        pointer.style.left = `${event.clientX - 2}px`;
        pointer.style.top = `${event.clientY - 2}px`;
    }, true);
}"""


def main() -> None:
    """Set up a sample project, label two of its pictures, and save a film of each."""
    port = free_port()
    studio_url = f"http://localhost:{port}"
    films = {"clicks.webp": ("astronaut", label), "find_rest.webp": ("coins", find_rest)}
    pictures = {path.stem: path for path in sample_pictures()}
    with tempfile.TemporaryDirectory() as folder, back_end(studio_url) as url:
        studio = LabelStudio(Path(folder), port=port)
        try:
            studio.start()
            project_id = set_up(studio, url, [pictures[name] for name, _ in films.values()])
            tasks = sorted(task["id"] for task in studio.tasks(project_id))
            for task_id, (target, (_, scene)) in zip(tasks, films.items(), strict=True):
                path = ROOT / "docs" / target
                record(studio, project_id, task_id, scene).save(path)
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")
        finally:
            studio.stop()


class Film:
    """Pictures of a page, each with its time on the screen."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._frames: list[Image.Image] = []
        self._times: list[int] = []

    def shoot(self, milliseconds: int) -> None:
        """Takes one picture, which the film shows for this time."""
        image = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        self._frames.append(image.resize(SIZE, Image.Resampling.LANCZOS))
        self._times.append(milliseconds)

    def save(self, path: Path) -> None:
        first, *others = self._frames
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=self._times,
            loop=0,
            quality=QUALITY,
            method=6,
        )


def record(
    studio: LabelStudio, project_id: int, task_id: int, scene: Callable[[Editor, Film], None]
) -> Film:
    """A film of the editor."""
    with opened_page(VIEW, studio) as page:
        editor = Editor(page, studio.url)
        editor.open(project_id, task_id, alone=True)
        page.evaluate(POINTER)
        film = Film(page)
        scene(editor, film)
        editor.submit()  # alone, the editor opens the first task that has no annotation
    return film


def label(editor: Editor, film: Film) -> None:
    """The astronaut by three points, then the helmet by a rectangle."""
    editor.choose(KEYPOINT, "Person")
    place = (0.75, 0.35)
    for point in ((0.42, 0.2), (0.3, 0.7), (0.62, 0.55)):
        move(editor, film, place, point)
        editor.click(*point)
        editor.page.wait_for_timeout(PAINT_MS)
        film.shoot(1500)
        place = point
    editor.accept()
    film.shoot(1000)
    editor.choose(RECTANGLE, "Object")
    editor.drag(0.53, 0.67, 0.999, 0.999)
    editor.page.wait_for_timeout(PAINT_MS)
    film.shoot(1500)
    editor.accept()
    film.shoot(2500)


def find_rest(editor: Editor, film: Film) -> None:
    """One coin by a point, and with it all others."""
    editor.choose(FIND_REST, "Object")
    move(editor, film, (0.6, 0.5), COIN)
    editor.click(*COIN)
    editor.page.wait_for_timeout(PAINT_MS)
    film.shoot(2500)
    editor.accept()
    film.shoot(2500)


def move(editor: Editor, film: Film, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Moves the mouse between two places in the image, without a click."""
    box = editor.image.bounding_box() or {"x": 0, "y": 0, "width": 0, "height": 0}
    for step in range(STEPS + 1):
        x, y = (a + (b - a) * step / STEPS for a, b in zip(start, end, strict=True))
        editor.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        film.shoot(500 if step == STEPS else 60)


if __name__ == "__main__":
    main()
