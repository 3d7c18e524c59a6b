"""Which rectangles of a context are meant, in the contexts of two versions of Label Studio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from sam_backend.clicks import newest, prompts
from sam_backend.clicks.prompts import Prompt, Target
from tests.fakes import keypoint, rectangle

CONTEXTS = Path(__file__).parent / "contexts"
VERSIONS = ("label_studio_1_23_2", "newer")

Region = Mapping[str, Any]


class Annotator:
    """Sends one context after another; what was answered is remembered as the back end does it."""

    def __init__(self, **task: Any) -> None:
        self.task = task
        self.answered: dict[Target, tuple[Prompt, ...]] = {}

    def sends(self, context: Sequence[Region]) -> list[str]:
        """The ids of the prompts that are meant."""
        found = newest.asked_about(
            prompts.read(context),
            lambda target: self.answered.get(target, ()),
            lambda: newest.saved_rectangles(self.task),
        )
        self.answered |= found
        return [prompt.id for group in found.values() for prompt in group]

    def saves(self, *regions: Region) -> None:
        self.task["drafts"] = [{"id": 1, "updated_at": "2026-01-01", "result": list(regions)}]


def recorded(name: str, version: str) -> list[list[Region]]:
    """The contexts that a version built for the gestures in a file."""
    steps = orjson.loads((CONTEXTS / f"{name}.json").read_bytes())["steps"]
    return [step[version] for step in steps]


@pytest.mark.parametrize("version", VERSIONS)
def test_each_rectangle_of_a_label_has_its_mask_and_other_labels_have_none(version: str) -> None:
    first, second, other_label = recorded("label_controls", version)
    annotator = Annotator()
    [disc] = annotator.sends(first)
    [again, plate] = annotator.sends(second)
    assert again == disc
    [ring] = annotator.sends(other_label)
    assert ring not in (disc, plate)


@pytest.mark.parametrize("version", VERSIONS)
def test_boxes_that_were_drawn_by_hand_and_saved_get_no_masks(version: str) -> None:
    first, second, after_accept = recorded("boxes_of_their_own_control", version)
    by_hand = recorded("boxes_of_their_own_control", "newer")[0][:2]
    annotator = Annotator()
    annotator.saves(*by_hand)
    [disc] = annotator.sends(first)
    assert annotator.sends(second) == [disc, second[-1]["id"]]
    assert annotator.sends(after_accept) == [after_accept[-1]["id"]]


def test_rectangles_of_other_pages_get_no_masks() -> None:
    [context] = recorded("pages", "newer")
    assert Annotator().sends(context) == [context[-1]["id"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_keypoints_are_taken_as_they_are_sent(version: str) -> None:
    first, second = recorded("keypoints", version)
    annotator = Annotator()
    assert len(annotator.sends(first)) == 1
    assert len(annotator.sends(second)) == 2


@pytest.mark.parametrize("source", ["annotations", "predictions"])
def test_of_thirty_saved_boxes_none_gets_a_mask(source: str) -> None:
    boxes = [rectangle(f"b{i}", i, i, 10, 10, label="Car" if i % 2 else "Bike") for i in range(30)]
    annotator = Annotator(**{source: [{"id": 7, "result": boxes}]})
    assert annotator.sends([*boxes, rectangle("new", 50, 50, 20, 20)]) == ["new"]


def test_a_rectangle_that_was_moved_is_the_newest() -> None:
    boxes = [rectangle(f"b{i}", 10 * i, 10, 8, 8, label="Car" if i % 2 else "Bike") for i in (1, 2)]
    annotator = Annotator()
    annotator.sends(boxes[:1])
    annotator.sends(boxes)
    moved = {**boxes[0], "value": {**boxes[0]["value"], "x": 30}}
    assert annotator.sends([moved, boxes[1]]) == ["b1"]


def test_a_saved_rectangle_that_was_moved_is_the_newest() -> None:
    boxes = [rectangle(f"b{i}", 10 * i, 10, 8, 8) for i in range(4)]
    annotator = Annotator()
    annotator.saves(*boxes)
    moved = {**boxes[1], "value": {**boxes[1]["value"], "width": 9.5}}
    assert annotator.sends([boxes[0], moved, *boxes[2:]]) == ["b1"]


def test_a_slow_label_studio_has_saved_the_new_rectangle_already() -> None:
    boxes = [rectangle("a", 10, 10, 8, 8), rectangle("b", 30, 10, 8, 8, label="Bike")]
    annotator = Annotator()
    annotator.sends(boxes[:1])
    annotator.saves(*boxes)
    assert annotator.sends(boxes) == ["b"]


def test_a_slow_label_studio_has_saved_the_new_place_already() -> None:
    boxes = [rectangle("a", 10, 10, 8, 8), rectangle("b", 30, 10, 8, 8, label="Bike")]
    annotator = Annotator()
    annotator.sends(boxes[:1])
    annotator.sends(boxes)
    moved = {**boxes[0], "value": {**boxes[0]["value"], "x": 50}}
    annotator.saves(moved, boxes[1])
    assert annotator.sends([moved, boxes[1]]) == ["a"]


def test_several_new_rectangles_each_have_their_mask() -> None:
    """The first request may have been dropped when the second one came."""
    boxes = [rectangle("a", 10, 10, 8, 8), rectangle("b", 40, 40, 8, 8)]
    assert Annotator().sends(boxes) == ["a", "b"]


def test_where_nothing_is_new_the_last_rectangle_is_meant() -> None:
    boxes = [rectangle(f"b{i}", 10 * i, 10, 8, 8) for i in range(4)]
    annotator = Annotator()
    annotator.saves(*boxes)
    assert annotator.sends(boxes) == ["b3"]


def test_keypoints_beside_rectangles_stay() -> None:
    boxes = [rectangle("a", 10, 10, 8, 8, label="Bike"), rectangle("b", 40, 40, 8, 8)]
    assert Annotator().sends([keypoint("k", 50, 50, label="Bike"), *boxes]) == ["k", "b"]


def test_one_rectangle_asks_for_nothing_that_was_saved() -> None:
    def never() -> dict[str, newest.Rectangle]:
        raise AssertionError

    found = prompts.read([rectangle("a", 10, 10, 8, 8)])
    assert newest.asked_about(found, lambda _: (), never) == found


def test_what_is_saved_may_be_anything() -> None:
    broken: list[Any] = [
        None,
        {"result": [{"id": "r", "type": "rectanglelabels", "value": {"x": "1"}}]},
        {"result": [{"id": "r", "type": "rectanglelabels", "value": None}, 7, None]},
        {"result": "r"},
    ]
    task = {"annotations": broken, "predictions": broken, "drafts": broken}
    assert newest.saved_rectangles(task) == {}


def test_what_was_answered_is_asked_once_for_each_label() -> None:
    """It is read from a file, and a click may have 200 rectangles."""
    boxes = [
        rectangle(f"{label}{n}", n, 5, 5, 5, label) for n in range(50) for label in ("Car", "Bike")
    ]
    asked: list[Target] = []

    def answered(target: Target) -> tuple[Prompt, ...]:
        asked.append(target)
        return ()

    newest.asked_about(prompts.read(boxes), answered, dict)
    assert len(asked) == 2
