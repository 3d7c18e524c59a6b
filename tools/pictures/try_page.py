"""Takes the picture of the page to try the back end, docs/try.png.

    .venv-test/bin/python -m tools.pictures.try_page

The back end is found or started as `make studio` does it.
"""

from __future__ import annotations

import io
import os
import shutil

from PIL import Image, ImageOps
from playwright.sync_api import Page, expect, sync_playwright

from tools.folders import ROOT
from tools.studio.sample import back_end

TARGET = ROOT / "docs" / "try.png"
SIZE = {"width": 1100, "height": 760}
BITS = 5  # for each colour: it halves the file


def main() -> None:
    """Click objects in a sample picture, and save what is on the screen."""
    with back_end("http://localhost:8080") as url, sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(f"{url}/try")
        label(page)
        picture = page.screenshot()
        browser.close()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    ImageOps.posterize(image, BITS).save(TARGET, optimize=True)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size // 1000} kB")


def label(page: Page) -> None:
    """The suit, kept; then the helmet."""
    page.get_by_role("button", name="An astronaut").click()
    status = page.locator("#status")
    expect(status).to_contain_text("Encoded in", timeout=60_000)
    stage = page.locator("#stage").bounding_box()
    if stage is None:
        raise RuntimeError("the page shows no picture")

    def place(x: float, y: float) -> tuple[float, float]:
        return stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]

    page.mouse.click(*place(0.3, 0.72))
    expect(status).to_contain_text("score", timeout=60_000)
    page.keyboard.press("n")
    expect(status).to_contain_text("kept")
    page.mouse.click(*place(0.75, 0.85))
    expect(status).to_contain_text("score", timeout=60_000)
    page.mouse.move(0, 0)


if __name__ == "__main__":
    main()
