"""Masks that give way to those already there, or push them aside, as `sam_overlap` says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from sam_backend.formats import mask_writer
from sam_backend.formats.mask import Mask
from tests.clicks.saved_masks import draft
from tests.fakes import SHARED_LABELS, keypoint, rectangle, shared_pair
from tests.server.clicks import click, errors, mask_of

FORMS: dict[str, Callable[[Mask], list[mask_writer.Value]]] = {
    "brush": mask_writer.brush,
    "bitmask": mask_writer.bitmask,
    "polygon": partial(mask_writer.polygons, tolerance=1.0),
    "vector": partial(mask_writer.vectors, tolerance=1.0),
}
WHERE = {"to_name": "image", "original_width": 400, "original_height": 300}
NEW = rectangle("r", 25, 25, 50, 50)  # pixels 100 to 300 and 75 to 225


def config(wish: str) -> str:
    return SHARED_LABELS.replace("<Brush ", f'<Brush sam_overlap="{wish}" ')


def left_half() -> Mask:
    mask = np.zeros((300, 400), bool)
    mask[50:250, 50:200] = True
    return mask


def there(mask: Mask, form: str = "brush", id_: str = "old", label: str = "Bike") -> list[Any]:
    """A mask as a draft of a config with a shared `<Labels>` holds it."""
    [value] = FORMS[form](mask)
    shape = {"id": id_, "type": form, "from_name": "mask", **WHERE, "value": value}
    named = {**value, "labels": [label]}
    return [shape, {**shape, "type": "labels", "from_name": "label", "value": named}]


def answer(client: FlaskClient, wish: str, *regions: Any) -> dict[str, Any]:
    """The results of a rectangle by id and type."""
    prompts = shared_pair(NEW)
    found = click(client, *prompts, config=config(wish), drafts=draft(*regions))["result"]
    return {f"{result['id']} {result['type']}": result for result in found}


@pytest.mark.parametrize("form", ["brush", "bitmask", "polygon", "vector"])
def test_below_leaves_the_pixels_of_other_masks(client: FlaskClient, form: str) -> None:
    before = mask_of(answer(client, "allow")["m-r brush"])
    assert before[150, 150]
    found = answer(client, "below", *there(left_half(), form))
    assert set(found) == {"m-r brush", "m-r labels"}
    assert np.array_equal(mask_of(found["m-r brush"]), before & ~left_half())


def test_allow_lets_masks_lie_above_each_other(client: FlaskClient) -> None:
    assert mask_of(answer(client, "allow", *there(left_half()))["m-r brush"])[150, 150]


def test_above_takes_the_pixels_from_other_masks(client: FlaskClient) -> None:
    found = answer(client, "above", *there(left_half()))
    new = mask_of(found["m-r brush"])
    assert new[150, 150]
    assert np.array_equal(mask_of(found["old brush"]), left_half() & ~new)
    assert found["old labels"]["value"]["labels"] == ["Bike"]
    assert found["old labels"]["value"]["rle"] == found["old brush"]["value"]["rle"]


def test_above_leaves_masks_that_would_be_gone_and_those_elsewhere(client: FlaskClient) -> None:
    inside, elsewhere = np.zeros((300, 400), bool), np.zeros((300, 400), bool)
    inside[100:120, 150:170] = elsewhere[:20, :20] = True
    regions = [*there(inside, id_="inside"), *there(elsewhere, id_="elsewhere")]
    assert set(answer(client, "above", *regions)) == {"m-r brush", "m-r labels"}


def test_an_object_that_others_hold_already_is_explained(client: FlaskClient) -> None:
    assert answer(client, "below", *there(np.ones((300, 400), bool))) == {}
    assert "other masks hold all of this object" in errors(client)[0]


def test_masks_that_cannot_be_read_are_not_there(client: FlaskClient) -> None:
    broken = {"id": "old", "type": "brush", "from_name": "mask", **WHERE, "value": {"rle": [1, 2]}}
    assert mask_of(answer(client, "below", broken)["m-r brush"])[150, 150]
    assert set(answer(client, "above", broken)) == {"m-r brush", "m-r labels"}


def test_more_masks_than_can_be_compared_are_refused(client: FlaskClient) -> None:
    regions = [r for n in range(45) for r in there(left_half(), "bitmask", id_=f"old{n}")]
    assert answer(client, "below", *regions) == {}
    assert "because too many lie in its place" in errors(client)[0]


def test_a_wrong_value_is_named(client: FlaskClient) -> None:
    found = click(client, *shared_pair(keypoint("k", 50, 50)), config=config("under"))
    assert found["result"] == []
    assert "sam_overlap='under' of <Brush name='mask'>" in errors(client)[0]
