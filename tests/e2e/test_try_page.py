"""The page /try in a real browser: mouse, keyboard, touch, large pictures, and no other host."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.conftest import BackEnd
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, draw, iou
from tests.e2e.try_page import TryPage


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


def test_a_file_that_is_no_picture_says_so(page: TryPage, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"junk")
    page.page.set_input_files("#file", tmp_path / "a.jpg")
    expect(page.page.locator("#or")).to_contain_text("This browser cannot show a.jpg")
