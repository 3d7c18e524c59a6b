"""Pictures of a run: every form of a mask, and all pictures on one sheet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_backend.bulk import overlay
from sam_backend.clicks import label_config
from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.everything import Proposal
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.formats import mask_reader
from sam_backend.formats.mask import Mask

HEIGHT, WIDTH = 120, 160
TARGET = Target("image", None, ("Car",), WIDTH, HEIGHT, 0)
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[30:90, 40:120] = True


def regions(tag: str, mask: Mask = MASK, id_: str = "a") -> list[Result]:
    xml = (
        f'<View><Image name="image" value="$image"/><{tag} name="tag" toName="image">'
        f'<Label value="Car"/></{tag}></View>'
    )
    output = Output.of(label_config.parse(xml), TARGET, OutputChoice(None, 1))
    return output.results(id_, Proposal(mask, 0.9), 1.0)


@pytest.mark.parametrize(
    "tag", ["BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels"]
)
def test_a_preview_shows_the_imported_masks(tag: str) -> None:
    [region] = regions(tag)
    covered = overlay.mask_of(region, HEIGHT, WIDTH)
    if not tag.startswith("Rect"):
        assert (covered == mask_reader.read(region["value"], HEIGHT, WIDTH)).all()  # as exports do
    assert (covered ^ MASK).sum() <= (0 if tag.startswith("B") else 2 * (60 + 80))
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    shown = overlay.drawn(grey, [region])
    changed = (shown != 128).any(axis=-1)
    assert changed[35:85, 45:115].all()
    assert not changed[:, 125:].any()


def test_a_small_mask_shows_on_top_of_a_large_one() -> None:
    small = np.zeros_like(MASK)
    small[60:70, 70:90] = True
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    shown = overlay.drawn(grey, [*regions("BrushLabels", small, "b"), *regions("BrushLabels")])
    assert (shown[64, 80] != shown[85, 60]).any()


def test_large_pictures_are_shown_smaller() -> None:
    shown = overlay.drawn(np.zeros((2000, 4000, 3), np.uint8), [])
    assert shown.shape == (800, 1600, 3)


def test_the_contact_sheet_holds_all_pictures(tmp_path: Path) -> None:
    for number in (2, 10):
        picture = np.full((60, 90, 3), 10 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), picture)
    (tmp_path / "3.jpg").write_bytes(b"half a picture")
    overlay.contact_sheet(tmp_path)
    sheet = cv2.imread(str(tmp_path / overlay.CONTACT_SHEET))
    assert sheet is not None
    assert sheet[150, 100].tolist() == pytest.approx([20] * 3, abs=8)
    assert sheet.shape == (2 * 246 + 6, 2 * 246 + 6, 3)
    overlay.contact_sheet(tmp_path)  # the sheet itself is not one of them
    assert cv2.imread(str(tmp_path / overlay.CONTACT_SHEET)) is not None


def test_no_pictures_no_sheet(tmp_path: Path) -> None:
    overlay.contact_sheet(tmp_path)
    assert list(tmp_path.iterdir()) == []
