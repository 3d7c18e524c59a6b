"""The page /try finds the rest of a kind, and forgets what a person rejects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.pictures import HEIGHT, WIDTH
from tests.e2e.try_page import TryPage

STEP = 0.01  # of the cross


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
