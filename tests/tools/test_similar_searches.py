"""The measurements of searches for the rest of a kind, with an engine that sees discs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam_backend.formats.mask import Mask
from tests.clicks.saved_masks import disc
from tests.fakes import picture
from tests.street import CARS, RADIUS, TREES, VANS, Street
from tools.quality.similar_clicks import LEVELS, efforts
from tools.quality.similar_pictures import Picture, pictures_in
from tools.quality.similar_searches import AGAIN, ONE, THREE, matched, outcomes
from tools.quality.similar_tables import mean, ratio, table


def write(folder: Path, names: list[str], **kinds: list[tuple[int, int]]) -> Path:
    """A folder with pictures that each show all objects of some kinds."""
    entries = []
    for name in names:
        (folder / name).write_bytes(picture())
        for kind, places in kinds.items():
            for number, place in enumerate(places):
                mask = f"{Path(name).stem}-{kind}-{number}.png"
                Image.fromarray(disc(*place, RADIUS)).save(folder / mask)
                entries.append({"image": name, "mask": mask, "set": "street", "label": kind})
    (folder / "index.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture
def street(tmp_path: Path) -> Picture:
    [found] = pictures_in(write(tmp_path, ["a.png"], Car=CARS, Tree=TREES))
    return found


def test_each_label_of_a_picture_is_measured_if_it_has_enough_objects(street: Picture) -> None:
    assert (street.domain, street.label, street.name) == ("street", "Car", "a.png")
    assert sorted(mask.sum() for mask in street.truths) == [disc(*CARS[0], RADIUS).sum()] * 4


def test_the_halves_share_no_picture_and_a_sample_is_always_the_same(tmp_path: Path) -> None:
    folder = write(tmp_path, ["a.png", "b.png", "c.png"], Car=CARS)
    assert [p.name for p in pictures_in(folder, half=0)] == ["a.png", "c.png"]
    assert [p.name for p in pictures_in(folder, half=1)] == ["b.png"]
    assert len(pictures_in(folder, most=2)) == 2
    assert pictures_in(folder, most=2) == pictures_in(folder, most=2)


def test_each_object_counts_once() -> None:
    def square(left: int) -> Mask:
        mask = np.zeros((20, 40), bool)
        mask[5:15, left : left + 10] = True
        return mask

    found = [square(1), square(0), square(20), square(32)]
    assert matched(found, [square(0), square(21)]) == [0, None, 1, None]
    assert matched([], [square(0)]) == []


def test_wrong_answers_are_counted_and_a_round_of_rejections_removes_them(street: Picture) -> None:
    found = outcomes(Street(), street, None)
    one, again, three = found[ONE], found[AGAIN], found[THREE]
    assert (one.right, one.offered, one.wanted) == (3, 3 + len(VANS), 3)
    assert one.f1 == pytest.approx(6 / 8)
    assert (again.right, again.offered, again.wanted) == (3, 3, 3)
    assert (three.right, three.wanted) == (1, 1)
    assert one.decodes > 0


def test_a_search_costs_a_click_and_each_wrong_suggestion_another(street: Picture) -> None:
    for found in efforts(Street(), street, None).values():
        assert (found.objects, found.alone) == (4, 4)
        assert found.searched == 1 + 1 + len(VANS)
        assert min(found.alone_iou, found.searched_iou) > max(LEVELS)


def test_an_interval_is_drawn_by_picture_and_always_the_same() -> None:
    found = ratio([1, 2, 3], [2, 2, 4])
    assert found == ratio([1, 2, 3], [2, 2, 4])
    assert found is not None
    assert found.low <= found.value == 6 / 8 <= found.high
    assert str(mean([0.5, 0.5])) == ".50 [.50, .50]"
    assert str(mean([-10.25])) == "-10.25 [-10.25, -10.25]"
    assert ratio([0, 0], [0, 0]) is None


def test_a_figure_that_has_no_meaning_is_an_empty_cell() -> None:
    assert table(["a", "b"], [[1, None]]).splitlines()[-1] == "| 1 |  |"
