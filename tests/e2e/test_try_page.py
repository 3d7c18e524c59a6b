"""The page /try in a real browser: mouse, keyboard, touch, large pictures, and no other host."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect

from sam_backend.exports import coco_rle
from sam_backend.formats.mask import Mask
from tests.e2e.conftest import BackEnd, StartBackEnd
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, draw, iou

LIMIT_MS = 60_000
STEP = 0.01  # of the cross


@pytest.fixture(scope="module")
def try_server(start_back_end: StartBackEnd) -> BackEnd:
    return start_back_end({})


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


@pytest.fixture
def new_page(browser: Browser, try_server: BackEnd) -> Iterator[Callable[..., TryPage]]:
    contexts = []

    def make(**options: Any) -> TryPage:
        context = browser.new_context(**options)
        contexts.append(context)
        made = TryPage(context.new_page())
        made.page.goto(f"{try_server.url}/try")
        return made

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., TryPage]) -> Iterator[TryPage]:
    made = new_page()
    yield made
    assert made.faults == []


def test_a_click_shows_the_mask_of_its_object(page: TryPage, picture: Path) -> None:
    page.open(picture)
    assert iou(page.click(*Shape.DISC.centre)[0], Shape.DISC.mask()) > 0.95
    assert page.drawn(*Shape.DISC.centre)
    assert not page.drawn(*Shape.PLATE.centre)
    expect(page.page.locator("#status")).to_contain_text(re.compile(r"\d+ (ms|s)\."))


def test_further_clicks_add_and_alt_clicks_take_away(page: TryPage, picture: Path) -> None:
    page.open(picture)
    page.click(*Shape.DISC.centre)
    both = page.click(*Shape.PLATE.centre)[0]
    x, y = Shape.PLATE.centre
    assert both[int(y * HEIGHT), int(x * WIDTH)]
    page.click(x, y, alt=True)
    assert not page.drawn(x, y)
    for shown in (True, False):
        page.page.click("#undo")
        assert page.drawn(x, y) == shown
    assert page.drawn(*Shape.DISC.centre)
    page.page.click("#undo")
    page.expect_status("Click an object")
    assert not page.drawn(*Shape.DISC.centre)


def test_a_drag_draws_a_box(page: TryPage, picture: Path) -> None:
    page.open(picture)
    left, top, right, bottom = Shape.PLATE.box
    with page.mask() as found:
        page.page.mouse.move(*page.place(left, top))
        page.page.mouse.down()
        page.page.mouse.move(*page.place((left + right) / 2, bottom))
        page.page.mouse.move(*page.place(right, bottom))
        page.page.mouse.up()
    assert iou(found[0], Shape.PLATE.mask()) > 0.95
    assert len(found) == 1


def test_the_next_object_has_a_mask_of_its_own(page: TryPage, picture: Path) -> None:
    page.open(picture)
    page.click(*Shape.DISC.centre)
    page.page.click("#next")
    page.expect_status("1 mask kept")
    assert iou(page.click(*Shape.PLATE.centre)[0], Shape.PLATE.mask()) > 0.95
    assert page.drawn(*Shape.DISC.centre)


def test_everything_is_shown(page: TryPage, picture: Path) -> None:
    page.open(picture)
    page.page.click("#everything")
    page.expect_status("masks in")
    for shape in (Shape.DISC, Shape.PLATE, Shape.BAR):
        assert page.drawn(*shape.centre), shape


@pytest.fixture
def plates(tmp_path: Path) -> tuple[Path, list[tuple[float, float]]]:
    """A picture with ten plates that are alike, and their middles."""
    places = [((x + 0.5) / 5, (y + 0.5) / 2) for x in range(5) for y in range(2)]
    pixels = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    for x, y in places:
        cv2.circle(pixels, (round(x * WIDTH), round(y * HEIGHT)), WIDTH // 18, (70, 40, 120), -1)
    Image.fromarray(cv2.GaussianBlur(pixels, (5, 5), 0)).save(tmp_path / "plates.png")
    return tmp_path / "plates.png", places


def test_the_rest_is_found_by_example(
    page: TryPage, plates: tuple[Path, list[tuple[float, float]]]
) -> None:
    picture, places = plates
    page.open(picture)
    expect(page.page.locator("#rest")).to_be_disabled()
    page.click(*places[0])
    page.page.click("#rest")
    page.expect_status("9 more like it in")
    assert all(page.drawn(*place) for place in places)
    page.page.click("#undo")
    page.expect_status("1 mask kept")
    assert [place for place in places if page.drawn(*place)] == places[:1]


def test_a_wrong_one_is_rejected_with_the_keyboard_too(
    page: TryPage, plates: tuple[Path, list[tuple[float, float]]]
) -> None:
    """Nothing is like the plates any more, because one of them is not wanted."""
    picture, places = plates
    page.open(picture)
    page.click(*places[0])
    page.press("r")
    page.expect_status("9 more like it in")
    x, y = places[-1]
    page.press("ArrowLeft", *["ArrowRight"] * round((x - 0.5) / STEP))
    page.press(*["ArrowDown"] * round((y - 0.5) / STEP), "x")
    page.expect_status("Removed. 9 masks kept")
    assert not page.drawn(x, y)
    page.page.keyboard.down("Alt")
    page.page.mouse.click(*page.place(*places[4]))
    page.page.keyboard.up("Alt")
    page.expect_status("Removed. 8 masks kept")
    page.press("r")
    page.expect_status("Nothing else is much like it")
    assert not page.drawn(*places[4])
    assert page.drawn(*places[0])


def test_masks_that_were_found_are_copied(
    new_page: Callable[..., TryPage], plates: tuple[Path, list[tuple[float, float]]]
) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.open(plates[0])
    page.click(*plates[1][0])
    page.press("r")
    page.expect_status("9 more like it in")
    page.page.click("#copy-polygon")
    page.expect_status("Copied the polygons of 10 masks")
    polygons = json.loads(page.page.evaluate("navigator.clipboard.readText()"))
    assert [len(each) for each in polygons] == [1] * 10
    assert page.faults == []


def test_the_keyboard_alone_is_enough(page: TryPage) -> None:
    """From the sample to a mask and its candidates; Tab then leaves the picture."""
    for _ in range(9):
        page.press("Tab")
        if page.page.evaluate("document.activeElement.dataset.sample") == "coffee.jpg":
            break
    page.press("Enter")
    page.expect_status("Encoded in")
    assert page.page.evaluate("document.activeElement.id") == "stage"
    page.press("ArrowUp", "ArrowUp", "ArrowUp", "Shift+ArrowLeft", "Shift+ArrowRight")
    page.expect_status("50 % from the left, 48 % from the top")
    with page.mask() as candidates:
        page.press("Enter")
    assert candidates[0][int(0.48 * 400), 300]
    assert len(candidates) > 1
    for number in range(2, len(candidates) + 1):
        page.press("Tab")
        page.expect_status(f"Candidate {number} of {len(candidates)}")
    with page.mask() as fewer:
        page.press(*["Shift+ArrowDown"] * 8, "x")
    assert not fewer[0][399, 300]
    page.press("Control+z")
    page.expect_status(f"Candidate {len(candidates)} of {len(candidates)}")
    page.press("n")
    page.expect_status("1 mask kept")
    page.press("b", "Shift+ArrowLeft", "Shift+ArrowUp")
    with page.mask():
        page.press("b")
    page.press("Tab")
    assert page.page.evaluate("document.activeElement.id") != "stage"


def test_a_picture_of_twenty_megapixels(page: TryPage, tmp_path: Path) -> None:
    large = draw(list(Shape)).resize((5472, 3648), Image.Resampling.LANCZOS)
    large.save(tmp_path / "large.jpg", quality=90)
    page.open(tmp_path / "large.jpg")
    mask = page.click(*Shape.DISC.centre)[0]
    assert mask.shape == (3648, 5472)
    small = np.asarray(Image.fromarray(mask).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))
    assert iou(small, Shape.DISC.mask()) > 0.95
    assert page.drawn(*Shape.DISC.centre)


def test_a_phone(new_page: Callable[..., TryPage], picture: Path) -> None:
    phone = new_page(
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    phone.open(picture)
    with phone.mask() as found:
        phone.page.touchscreen.tap(*phone.place(*Shape.DISC.centre))
    assert iou(found[0], Shape.DISC.mask()) > 0.95
    with phone.mask() as found:
        phone.page.get_by_role("radio", name="Exclude").tap()
        phone.page.touchscreen.tap(*phone.place(*Shape.DISC.at(0.5, 0.2)))
    code = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert phone.page.evaluate(code), "nothing is wider than the screen"
    assert phone.faults == []


def test_no_other_host_is_asked(page: TryPage, try_server: BackEnd, picture: Path) -> None:
    page.page.click("[data-sample='cat.jpg']")
    page.expect_status("Encoded in")
    page.click(0.5, 0.5)
    others = [url for url in page.asked if not url.startswith((try_server.url, "data:", "blob:"))]
    assert others == []


def test_masks_are_copied(new_page: Callable[..., TryPage], picture: Path) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.open(picture)
    mask = page.click(*Shape.DISC.centre)[0]
    page.page.click("#next")
    page.expect_status("kept")
    other = page.click(*Shape.PLATE.centre)[0]

    def copied(button: str, status: str) -> Any:
        page.page.click(button)
        page.expect_status(status)
        return json.loads(page.page.evaluate("navigator.clipboard.readText()"))

    coco = copied("#copy-coco", "Copied 2 masks as COCO")
    assert [(image["width"], image["height"]) for image in coco["images"]] == [(WIDTH, HEIGHT)]
    found = [coco_rle.decode(each["segmentation"]) for each in coco["annotations"]]
    assert np.array_equal(found[0], mask)
    assert np.array_equal(found[1], other)
    polygons = copied("#copy-polygon", "Copied the polygons of 2 masks")
    assert len(polygons) == 2
    xs, _ = zip(*polygons[0][0], strict=True)
    columns = mask.any(axis=0).nonzero()[0]
    assert (round(min(xs)), round(max(xs))) == (columns.min(), columns.max() + 1)
    page.page.click("#copy-png")
    page.expect_status("as a PNG")
    code = """async () => {
        const [item] = await navigator.clipboard.read();
        const bitmap = await createImageBitmap(await item.getType("image/png"));
        const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
        const context = canvas.getContext("2d");
        context.drawImage(bitmap, 0, 0);
        return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data].filter(
            (_, i) => i % 4 === 0);
    }"""
    pixels = np.array(page.page.evaluate(code)).reshape(HEIGHT, WIDTH)
    assert set(np.unique(pixels)) == {0, 255}
    assert np.array_equal(pixels > 0, mask | other)
    assert page.faults == []


def test_a_file_that_is_no_picture_says_so(page: TryPage, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"junk")
    page.page.set_input_files("#file", tmp_path / "a.jpg")
    expect(page.page.locator("#or")).to_contain_text("This browser cannot show a.jpg")
