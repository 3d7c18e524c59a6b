"""Takes the picture of the page to try the back end, docs/try.png.

    .venv-test/bin/python -m tools.pictures.try_page

It needs Chromium. It finds or starts the back end as `make studio` does.
"""

from __future__ import annotations

import io

from PIL import Image, ImageOps
from playwright.sync_api import Page, expect

from tools.folders import ROOT
from tools.pictures.browser import opened_page
from tools.studio.sample import back_end

TARGET = ROOT / "docs" / "try.png"
SIZE = (1100, 760)
BITS = 5  # for each colour: it halves the file


def main() -> None:
    """Click objects in a sample picture, and save what is on the screen."""
    with back_end("http://localhost:8080") as url, opened_page(SIZE) as page:
        page.goto(f"{url}/try")
        label(page)
        picture = page.screenshot()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    ImageOps.posterize(image, BITS).save(TARGET, optimize=True)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size // 1000} kB")


def label(page: Page) -> None:
    """Keeps the mask of the suit, then clicks the helmet."""
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
