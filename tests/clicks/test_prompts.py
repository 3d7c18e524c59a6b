"""Prompts as the editor sends them, in both shapes, and where they lie in the image."""

from dataclasses import replace

import numpy as np
import pytest

from sam_backend.clicks import prompts
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.errors import Refusal
from tests.fakes import keypoint, rectangle, shared_pair

TARGET = Target("image", None, ("Car",), 400, 300, 0.0)


def only(*results: dict[str, object]) -> tuple[Prompt, ...]:
    """The prompts of results that all share one target."""
    (found,) = prompts.read(results).values()
    return found


def test_a_keypoint_without_is_positive_is_positive() -> None:
    assert only(keypoint("a", 10, 10, positive=None))[0].is_positive


def test_only_alt_makes_a_keypoint_negative() -> None:
    (positive,) = only(keypoint("a", 10, 10, label="Background"))
    (negative,) = only(keypoint("a", 10, 10, positive=False))
    assert positive.is_positive
    assert not negative.is_positive


@pytest.mark.parametrize("prompt", [keypoint("a", 10, 20), rectangle("a", 10, 20, 30, 40)])
def test_both_config_shapes_say_the_same(prompt: dict[str, object]) -> None:
    (own,), (paired,) = only(prompt), only(*shared_pair(prompt))
    assert replace(own, control="") == replace(paired, control="")
    assert {own.control, paired.control} < {"tag2", "tag3", "point", "box"}


def test_prompts_are_kept_apart_by_label_image_and_page() -> None:
    found = prompts.read(
        [
            keypoint("a", 1, 1),
            keypoint("b", 1, 1, label="Bike"),
            keypoint("c", 1, 1, item_index=2),
            keypoint("d", 1, 1, to_name="other"),
            keypoint("e", 2, 2),
        ]
    )
    assert [[p.id for p in group] for group in found.values()] == [["a", "e"], ["b"], ["c"], ["d"]]


def test_accepted_masks_under_a_prompts_type_are_no_prompts() -> None:
    mask = keypoint("a", 1, 1)
    mask["value"] = {"format": "rle", "rle": [1, 2, 3], "keypointlabels": ["Car"]}
    assert prompts.read([mask, {**mask, "type": "brushlabels"}]) == {}


def test_a_keypoint_is_clipped_into_the_image() -> None:
    prompt = prompts.object_prompt(only(keypoint("a", 100, 120)), TARGET)
    assert prompt.points.tolist() == [[399, 299]]
    assert prompt.labels.tolist() == [1]
    assert prompt.box is None


def test_a_rectangle_dragged_past_the_edge_is_cut_to_the_image() -> None:
    prompt = prompts.object_prompt(only(rectangle("a", -10, 50, 60, 80)), TARGET)
    assert prompt.box is not None
    assert prompt.box.tolist() == [0, 150, 200, 300]


def test_a_rotated_rectangle_turns_about_its_top_left_corner_in_pixels() -> None:
    prompt = prompts.object_prompt(only(rectangle("a", 50, 50, 10, 10, rotation=90)), TARGET)
    assert prompt.box is not None  # 40 wide and 30 high, now 30 wide to the left and 40 high
    assert np.allclose(prompt.box, [170, 150, 200, 190])


def test_a_rectangle_outside_of_the_image_is_refused() -> None:
    with pytest.raises(Refusal, match="covers no pixel"):
        prompts.object_prompt(only(rectangle("a", 101, 10, 5, 5)), TARGET)


@pytest.mark.parametrize(
    "broken",
    [
        {"value": {"y": 1}},
        {"value": {"x": "left", "y": 1}},
        {"value": {"x": float("nan"), "y": 1}},
        {"value": None},
        {"original_width": 0},
        {"original_width": None},
    ],
)
def test_an_incomplete_prompt_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(Refusal):
        prompts.read([{**keypoint("a", 1, 1), **broken}])


def test_each_rectangle_is_an_object_and_keypoints_go_to_the_one_they_lie_in() -> None:
    found = only(
        keypoint("in_second", 70, 20),
        rectangle("first", 10, 10, 30, 30),
        rectangle("second", 60, 10, 30, 30),
        keypoint("in_first", 20, 20, positive=False),
        keypoint("near_second", 95, 20),
    )
    assert [[p.id for p in group] for group in prompts.objects(found, 4 / 3)] == [
        ["first", "in_first"],
        ["in_second", "second", "near_second"],
    ]


def test_in_overlapping_rectangles_a_keypoint_goes_to_the_smaller_one() -> None:
    found = only(
        rectangle("large", 0, 0, 90, 90), rectangle("small", 20, 20, 20, 20), keypoint("k", 30, 30)
    )
    assert [[p.id for p in group] for group in prompts.objects(found, 4 / 3)] == [
        ["large"],
        ["small", "k"],
    ]


def test_a_keypoint_lies_in_a_rotated_rectangle_where_the_editor_shows_it() -> None:
    thin = rectangle("thin", 10, 0, 60, 8, rotation=45)  # 240 of 400 pixels, to (210, 170)
    found = only(thin, rectangle("other", 44.5, 45, 30, 12), keypoint("k", 44, 47))
    assert [[p.id for p in group] for group in prompts.objects(found, 4 / 3)] == [
        ["thin", "k"],
        ["other"],
    ]


def test_all_keypoints_mean_one_object_where_there_is_one_rectangle_or_none() -> None:
    points = [keypoint("a", 1, 1), keypoint("b", 90, 90)]
    assert len(prompts.objects(only(*points), 4 / 3)) == 1
    assert len(prompts.objects(only(*points, rectangle("r", 40, 40, 5, 5)), 4 / 3)) == 1
