"""Which form a click's answer takes: what the label config, or the model's params, ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from sam_backend.engines.frame import Floats
from sam_backend.formats import rle
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import (
    BRUSH_LABELS,
    SHARED_LABELS,
    DiscEngine,
    keypoint,
    rectangle,
    shared_pair,
)
from tests.server.clicks import click, errors, mask_of, post


def config(*outputs: str, attribute: str = "") -> str:
    """A config with these outputs in this order, and labelled smart keypoints."""
    controls = "".join(
        f'<{tag} name="{tag}" toName="image"><Label value="Car"/></{tag}>' for tag in outputs
    )
    return (
        f'<View><Image name="image" value="$image"/>{controls}'
        f'<KeyPointLabels name="tag2" toName="image" smart="true" {attribute}>'
        '<Label value="Car"/></KeyPointLabels></View>'
    )


@pytest.mark.parametrize(
    ("tag", "key"),
    [
        ("BrushLabels", "rle"),
        ("BitmaskLabels", "imageDataURL"),
        ("PolygonLabels", "points"),
        ("VectorLabels", "vertices"),
        ("RectangleLabels", "width"),
    ],
)
def test_the_config_decides(client: FlaskClient, tag: str, key: str) -> None:
    (region,) = click(client, keypoint("a", 50, 50), config=config(tag))["result"]
    assert (region["type"], region["from_name"]) == (tag.lower(), tag)
    assert region["value"][tag.lower()] == ["Car"]
    assert key in region["value"]


def test_bare_controls_take_the_label_from_the_shared_labels(client: FlaskClient) -> None:
    shared = SHARED_LABELS.replace("<Brush ", "<Polygon ")
    outline, label = click(client, *shared_pair(keypoint("a", 50, 50)), config=shared)["result"]
    assert (outline["type"], label["type"]) == ("polygon", "labels")
    assert outline["id"] == label["id"]
    assert label["value"]["labels"] == ["Car"]
    assert label["value"]["points"] == outline["value"]["points"]


def test_of_several_outputs_the_first_one_is_taken(client: FlaskClient) -> None:
    both = config("PolygonLabels", "BrushLabels")
    assert click(client, keypoint("a", 50, 50), config=both)["result"][0]["type"] == "polygonlabels"


def test_a_smart_rectangle_is_a_prompt_and_no_output(client: FlaskClient) -> None:
    head, brush, prompts = BRUSH_LABELS.partition('<BrushLabels name="tag" toName="image">')
    brush += '<Label value="Car"/><Label value="Bike"/></BrushLabels>'
    brush_last = head + prompts.partition("</BrushLabels>")[2].replace("</View>", f"{brush}</View>")
    assert brush_last.index("<RectangleLabels") < brush_last.index("<BrushLabels")
    (region,) = click(client, rectangle("r", 30, 30, 40, 40), config=brush_last)["result"]
    assert region["type"] == "brushlabels"


def test_a_prompt_control_may_name_its_output(client: FlaskClient) -> None:
    named = config("PolygonLabels", "BrushLabels", attribute='sam_output="BrushLabels"')
    assert click(client, keypoint("a", 50, 50), config=named)["result"][0]["type"] == "brushlabels"


@pytest.mark.parametrize(
    "extra",
    [{"sam_output": "BrushLabels"}, '{"sam_output": "BrushLabels"}'],
    ids=["object", "text"],
)
def test_extra_params_may_name_the_output(client: FlaskClient, extra: Any) -> None:
    both = config("PolygonLabels", "BrushLabels")
    post(client, "/setup", {"project": "1.1795243155", "schema": both, "extra_params": extra})
    assert click(client, keypoint("a", 50, 50), config=both)["result"][0]["type"] == "brushlabels"


def test_an_output_that_does_not_exist_is_named(client: FlaskClient) -> None:
    wrong = config("BrushLabels", attribute='sam_output="brush"')
    assert click(client, keypoint("a", 50, 50), config=wrong)["result"] == []
    assert "sam_output='brush' is not a control" in errors(client)[0]


def test_the_parts_of_an_object_are_polygons_with_ids_that_stay(client: FlaskClient) -> None:
    points = [keypoint("a", 20, 50), keypoint("b", 80, 50)]
    first = click(client, *points, config=config("PolygonLabels"))["result"]
    again = click(client, *points, config=config("PolygonLabels"))["result"]
    assert [region["id"] for region in first] == ["m-a", "m-a.2"]
    assert first == again


def test_the_box_of_a_keypoints_mask_is_tight(client: FlaskClient) -> None:
    rows_columns = mask_of(click(client, keypoint("a", 50, 50))["result"][0]).nonzero()
    (box,) = click(client, keypoint("a", 50, 50), config=config("RectangleLabels"))["result"]
    assert box["value"]["x"] * 4 == pytest.approx(rows_columns[1].min())
    assert box["value"]["height"] * 3 == pytest.approx(
        rows_columns[0].max() + 1 - rows_columns[0].min()
    )


class Ambiguous(DiscEngine):
    """Sees a part, the whole, and the whole once more at a click."""

    def decode(self, *args: Any, **kwargs: Any) -> tuple[Floats, Floats]:
        logits, _ = super().decode(*args, **kwargs)
        rows, columns = np.nonzero(logits[0] > 0)
        part = np.full_like(logits[0], -8)
        middle = int(np.median(rows)), int(np.median(columns))
        part[middle[0] - 3 : middle[0] + 4, middle[1] - 3 : middle[1] + 4] = 8
        whole = logits[0]
        return np.stack([whole, part, whole, whole]), np.array([0.9, 0.6, 0.8, 0.7], np.float32)


@pytest.fixture
def ambiguous(services: Callable[..., Services]) -> FlaskClient:
    made = services(Ambiguous())
    return create_app(made.settings, made).test_client()


def test_a_single_click_may_have_candidates_without_near_duplicates(
    ambiguous: FlaskClient,
) -> None:
    asking = config("BrushLabels", attribute='candidates="3"')
    whole, part = click(ambiguous, keypoint("a", 50, 50), config=asking)["result"]
    assert (whole["id"], part["id"]) == ("m-a", "m-a~2")
    assert whole["score"] > part["score"]
    assert (mask_of(part) & ~mask_of(whole)).sum() == 0
    again = click(ambiguous, keypoint("a", 50, 50), keypoint("b", 52, 50), config=asking)["result"]
    assert [region["id"] for region in again] == ["m-a"], "a second click says which one"


def test_nobody_gets_candidates_who_did_not_ask(ambiguous: FlaskClient) -> None:
    assert len(click(ambiguous, keypoint("a", 50, 50))["result"]) == 1


def test_extra_params_may_choose_candidates(ambiguous: FlaskClient) -> None:
    setup = {"project": "1.1795243155", "schema": BRUSH_LABELS, "extra_params": {"candidates": 2}}
    post(ambiguous, "/setup", setup)
    assert len(click(ambiguous, keypoint("a", 50, 50))["result"]) == 2


def test_an_impossible_number_of_candidates_is_named(client: FlaskClient) -> None:
    wrong = config("BrushLabels", attribute='candidates="many"')
    assert click(client, keypoint("a", 50, 50), config=wrong)["result"] == []
    assert "candidates='many' is not 1, 2 or 3" in errors(client)[0]


def test_a_control_says_how_its_masks_are_finished(client: FlaskClient) -> None:
    plain, coarse = config("PolygonLabels"), config("PolygonLabels")
    coarse = coarse.replace("<PolygonLabels ", '<PolygonLabels sam_detail="10" ')
    many, few = (
        click(client, keypoint("a", 50, 50), config=each)["result"][0]["value"]["points"]
        for each in (plain, coarse)
    )
    assert 3 <= len(few) < len(many)


def test_a_wrong_attribute_is_told_at_setup_and_with_a_click(client: FlaskClient) -> None:
    wrong = config("BrushLabels").replace("<BrushLabels ", '<BrushLabels sam_smooth="much" ')
    post(client, "/setup", {"project": "1.2", "schema": wrong})
    said = "sam_smooth='much' of <BrushLabels name='BrushLabels'> in the label config is not"
    assert said in errors(client)[0]
    assert click(client, keypoint("a", 50, 50), config=wrong)["result"] == []
    assert said in errors(client)[0]


def test_a_corrected_mask_is_not_smoothed_again(client: FlaskClient) -> None:
    smooth = BRUSH_LABELS.replace("<BrushLabels ", '<BrushLabels sam_smooth="100" ')
    painted = np.zeros((300, 400), bool)
    painted[100:200, 100:300] = True
    painted[90:100, 100:300:4] = True  # teeth, which smoothing would take away
    there = {
        "id": "old",
        "type": "brushlabels",
        "from_name": "tag",
        "to_name": "image",
        "original_width": 400,
        "original_height": 300,
        "value": {"format": "rle", "rle": rle.encode(painted), "brushlabels": ["Car"]},
    }
    drafts = [{"id": 1, "updated_at": "x", "result": [there]}]
    cut = keypoint("k", 70, 60, positive=False)
    (region,) = click(client, cut, config=smooth, drafts=drafts)["result"]
    assert region["id"] == "old"
    assert np.array_equal(mask_of(region)[90:100, 100:200], painted[90:100, 100:200])
