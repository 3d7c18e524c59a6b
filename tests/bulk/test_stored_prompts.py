"""Which prompts a task holds already, and which of them make an object."""

from __future__ import annotations

from typing import Any

import pytest

from sam_backend.bulk import stored_prompts
from sam_backend.bulk.stored_prompts import PromptChoice
from sam_backend.clicks import label_config
from sam_backend.errors import Refusal
from tests.fakes import BRUSH_LABELS, keypoint, rectangle, shared_pair

OURS = "MobileSAM"
BOTH = """<View><Image name="image" value="$image"/>
  <RectangleLabels name="box" toName="image"><Label value="Car"/></RectangleLabels>
  <BrushLabels name="tag" toName="image"><Label value="Car"/></BrushLabels></View>"""


def task(**parts: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"image": "x.png"}, **parts}


def annotation(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 1, "result": list(results), **more}


def prediction(version: str, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 1, "model_version": version, "result": list(results), **more}


def found(
    made: dict[str, Any],
    wanted: PromptChoice = PromptChoice(),  # noqa: B008
    xml: str = BRUSH_LABELS,
) -> list[Any]:
    """The ids of each object's prompts."""
    results = stored_prompts.results(made, wanted, label_config.parse(xml), OURS)
    sized = [stored_prompts.with_size(result, 400, 300) for result in results]
    return [[p.id for p in each.prompts] for each in stored_prompts.objects(sized, wanted)]


def test_each_rectangle_is_an_object() -> None:
    boxes = rectangle("a", 10, 10, 20, 20), rectangle("b", 50, 10, 20, 20)
    assert found(task(annotations=[annotation(*boxes)])) == [["a"], ["b"]]


def test_a_keypoint_refines_the_smallest_rectangle_around_it() -> None:
    large, small = rectangle("large", 0, 0, 90, 90), rectangle("small", 10, 10, 20, 20)
    inside = keypoint("p", 15, 15, positive=False)
    assert found(task(annotations=[annotation(large, small, inside)])) == [
        ["large"],
        ["small", "p"],
    ]


def test_keypoints_alone_are_objects_of_their_own() -> None:
    points = keypoint("a", 10, 10), keypoint("b", 80, 80), keypoint("not", 70, 80, positive=False)
    assert found(task(annotations=[annotation(*points)])) == [["a"], ["b", "not"]]


def test_a_keypoint_of_another_label_refines_no_rectangle() -> None:
    made = annotation(rectangle("a", 0, 0, 90, 90, label="Car"), keypoint("p", 9, 9, label="Bike"))
    assert found(task(annotations=[made])) == [["a"], ["p"]]


def test_labels_choose() -> None:
    made = annotation(rectangle("a", 0, 0, 9, 9, label="Car"), keypoint("p", 50, 9, label="Bike"))
    assert found(task(annotations=[made]), PromptChoice(labels=("Bike",))) == [["p"]]


def test_a_shared_label_control_labels_its_prompts() -> None:
    made = annotation(*shared_pair(rectangle("a", 0, 0, 9, 9), "Bike"))
    assert found(task(annotations=[made]), PromptChoice(labels=("Bike",))) == [["a"]]


def test_the_annotation_that_counts_is_the_ground_truth_else_the_last() -> None:
    old = annotation(rectangle("old", 0, 0, 9, 9), updated_at="2026-01-01")
    new = annotation(rectangle("new", 0, 0, 9, 9), updated_at="2026-02-01")
    skipped = annotation(rectangle("no", 0, 0, 9, 9), updated_at="2026-03-01", was_cancelled=True)
    assert found(task(annotations=[new, old, skipped])) == [["new"]]
    assert found(task(annotations=[new, {**old, "ground_truth": True}])) == [["old"]]


def test_predictions_of_this_back_end_are_no_prompts() -> None:
    ours = prediction(OURS, rectangle("m-a", 0, 0, 9, 9), id=9)
    detected = prediction("yolo", rectangle("a", 0, 0, 9, 9))
    assert found(task(predictions=[detected, ours])) == [["a"]]


def test_a_model_version_chooses_among_predictions() -> None:
    one = prediction("one", rectangle("a", 0, 0, 9, 9))
    two = prediction("two", rectangle("b", 0, 0, 9, 9), id=2)
    assert found(task(predictions=[one, two])) == [["b"]]
    assert found(task(predictions=[one, two]), PromptChoice(prediction_version="one")) == [["a"]]


def test_a_region_accepted_from_a_prediction_counts_once() -> None:
    box = rectangle("a", 0, 0, 9, 9)
    both = task(annotations=[annotation(box)], predictions=[prediction("yolo", box)])
    assert found(both) == [["a"]]


def test_predictions_listed_by_number_are_passed_over() -> None:
    assert found(task(predictions=[7, 8])) == []


def test_an_accepted_mask_is_no_prompt_though_saved_under_one() -> None:
    brush = {**keypoint("m-a", 0, 0), "value": {"format": "rle", "rle": [1], "keypointlabels": []}}
    outline = {**keypoint("m-b", 0, 0), "value": {"points": [[0, 0]], "keypointlabels": []}}
    assert found(task(annotations=[annotation(brush, outline)])) == []


def test_data_fields_hold_boxes_and_points() -> None:
    entries = [
        {"x": 10, "y": 20, "width": 30, "height": 40, "label": "Car"},
        {"box": [40, 30, 80, 90], "label": "Car"},
        {"point": [200, 150], "label": "Bike"},
    ]
    made = task(data={"image": "x.png", "boxes": entries})
    results = stored_prompts.results(
        made, PromptChoice(("boxes",)), label_config.parse(BRUSH_LABELS), OURS
    )
    sized = [stored_prompts.with_size(result, 400, 300) for result in results]
    objects = stored_prompts.objects(sized, PromptChoice(("boxes",)))
    places = [(p.x, p.y, p.width, p.height) for each in objects for p in each.prompts]
    assert places == [(10, 20, 30, 40), (10, 10, 10, 20), (50, 50, 0, 0)]
    assert [each.target.labels for each in objects] == [("Car",), ("Car",), ("Bike",)]
    assert [each.region_id for each in objects] == ["m-boxes-0", "m-boxes-1", "m-boxes-2"]


@pytest.mark.parametrize("entry", [7, {}, {"box": [1, 2, 3]}, {"point": "xy"}, {"x": 1, "y": None}])
def test_a_data_field_of_another_form_is_refused(entry: Any) -> None:
    made = task(data={"image": "x.png", "boxes": [entry]})
    with pytest.raises(Refusal, match="entry 1 of the data field 'boxes'"):
        stored_prompts.results(
            made, PromptChoice(("boxes",)), label_config.parse(BRUSH_LABELS), OURS
        )


def test_a_result_may_have_more_fields_than_label_studio_gives_it() -> None:
    box = rectangle("a", 10, 10, 20, 20, pixels=400)
    assert found(task(annotations=[annotation(box)])) == [["a"]]


def test_a_page_that_is_no_number_is_refused() -> None:
    with pytest.raises(Refusal, match="the page of a prompt's image is not a number"):
        stored_prompts.page(rectangle("a", 10, 10, 20, 20, item_index=[1]))


def test_masks_do_not_go_back_to_the_boxes_control() -> None:
    config = label_config.parse(BOTH)
    [each] = stored_prompts.objects([rectangle("a", 0, 0, 9, 9, from_name="box")], PromptChoice())
    assert stored_prompts.output_control(config, each.target.to_name, "box").name == "tag"


def test_a_config_without_a_control_for_masks_says_so() -> None:
    only_boxes = BOTH.replace("BrushLabels", "Choices")
    [each] = stored_prompts.objects([rectangle("a", 0, 0, 9, 9)], PromptChoice())
    with pytest.raises(Refusal, match="add <BrushLabels> or <Brush>"):
        stored_prompts.output_control(label_config.parse(only_boxes), each.target.to_name, "box")


def test_regions_that_are_there_already_are_known() -> None:
    ours = prediction(OURS, {"id": "m-a"}, {"id": "m-a.2"})
    made = task(
        predictions=[ours, prediction("yolo", {"id": "x"})], annotations=[annotation({"id": "m-b"})]
    )
    assert stored_prompts.masked(made, OURS) == {"m-a", "m-a.2", "m-b"}
