"""The page /try as a person uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, Response, expect

from sam_backend.exports import coco_rle
from sam_backend.formats.mask import Mask
from tests.e2e.editor import LIMIT_MS


class TryPage:
    """The page as a person uses it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.asked: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.set_default_timeout(LIMIT_MS)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def open(self, picture: Path) -> None:
        self.page.set_input_files("#file", picture)
        self.expect_status("Encoded in")

    def expect_status(self, text: str) -> None:
        expect(self.page.locator("#status")).to_contain_text(text, timeout=LIMIT_MS)

    def place(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator("#stage").bounding_box()
        assert box
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    @contextmanager
    def mask(self) -> Iterator[list[Mask]]:
        """Filled in with the masks that the page gets for what happens inside."""
        found: list[Mask] = []
        with self.page.expect_response(_is_segmented) as got:
            yield found
        assert got.value.ok, got.value.text()
        first = got.value.json()["objects"][0]
        found += [coco_rle.decode(a["mask"]) for a in (first, *first["alternatives"])]
        self.expect_status("score")

    def click(self, x: float, y: float, *, alt: bool = False) -> list[Mask]:
        with self.mask() as found:
            if alt:
                self.page.keyboard.down("Alt")
            self.page.mouse.click(*self.place(x, y))
            if alt:
                self.page.keyboard.up("Alt")
        return found

    def drawn(self, x: float, y: float) -> bool:
        """Whether the page shows a mask at a place."""
        code = """([x, y]) => {
            const canvas = document.getElementById("masks");
            const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1];
            return canvas.getContext("2d").getImageData(...at).data[3] > 0;
        }"""
        return bool(self.page.evaluate(code, [x, y]))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


def _is_segmented(response: Response) -> bool:
    return response.url.endswith("/v1/segment")
