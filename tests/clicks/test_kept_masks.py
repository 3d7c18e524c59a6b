"""What is read of a saved annotation's masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam_backend.clicks.kept_masks import MOST_MASKS, of_annotation
from sam_backend.clicks.learnt_shapes import figures
from tests.clicks.saved_masks import brush, disc, region

LARGE, SMALL = disc(100, 150, 60), disc(300, 150, 8)


def annotation(*regions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 1, "result": list(regions), **more}


def test_each_object_is_two_numbers() -> None:
    found = of_annotation(annotation(brush("a", LARGE), brush("b", SMALL)))
    assert [(mask.region, mask.label) for mask in found] == [("a", "Car"), ("b", "Car")]
    whole = figures(LARGE)
    assert whole is not None
    assert found[0].figures == pytest.approx(whole, abs=0.05)


def test_parts_of_one_object_are_one_mask() -> None:
    parts = of_annotation(annotation(brush("a", LARGE), brush("a.2", SMALL)))
    whole = of_annotation(annotation(brush("a", LARGE | SMALL)))
    assert len(parts) == 1
    assert np.array_equal(parts[0].figures, whole[0].figures)


def test_a_shared_label_belongs_to_the_region_of_its_id() -> None:
    plain = {**brush("a", LARGE), "type": "brush"}
    del plain["value"]["brushlabels"]
    label = {**plain, "type": "labels", "value": {"labels": ["Bike"]}}
    assert [mask.label for mask in of_annotation(annotation(plain, label))] == ["Bike"]
    assert of_annotation(annotation(plain)) == [], "without a label there is nothing to learn"


def test_prompts_and_empty_masks_are_left_out() -> None:
    point = region("k", {"x": 1, "y": 1, "width": 1}, "keypointlabels")
    assert of_annotation(annotation(point, brush("a", LARGE & ~LARGE))) == []


def test_a_hundred_masks_take_no_longer_than_twenty() -> None:
    many = [brush(f"a{number}x", SMALL) for number in range(100)]
    assert len(of_annotation(annotation(*many))) == MOST_MASKS
