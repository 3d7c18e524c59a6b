"""The page /try copies its masks as COCO, as polygons and as a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sam_backend.exports import coco_rle
from tests.e2e.pictures import HEIGHT, WIDTH, Shape
from tests.e2e.try_page import TryPage


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
