"""Finishing masks that are there already, instead of drawing them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from sam_backend.clicks.objects import Objects
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.engines.protocol import Engine
from sam_backend.formats import mask_writer, rle
from sam_backend.formats.mask import Mask
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.clicks.saved_masks import brush, disc, draft, region
from tests.clicks.test_masks import iou, scene
from tests.fakes import DiscEngine, keypoint, rectangle, request_body
from tests.held import wait_until
from tests.server.clicks import click, mask_of, post
from tools.quality.engines import Counted

LARGE = disc(100, 150, 60)
SMALL = disc(300, 150, 8)


def test_a_negative_keypoint_inside_cuts_the_mask_and_takes_its_place(client: FlaskClient) -> None:
    cut = keypoint("k", 25, 50, positive=False)
    (result,) = click(client, cut, drafts=draft(brush("old", LARGE)))["result"]
    assert result["id"] == "old"
    mask = mask_of(result)
    assert not mask[150, 100]
    assert mask[150, 55]
    assert iou(mask, LARGE & ~disc(100, 150, 16)) > 0.9


def test_a_keypoint_beside_it_on_the_same_object_grows_the_mask(client: FlaskClient) -> None:
    (result,) = click(client, keypoint("k", 72.5, 50), drafts=draft(brush("old", SMALL)))["result"]
    assert result["id"] == "old"
    mask = mask_of(result)
    assert mask[150, 300]
    assert mask[150, 280]


def test_further_clicks_stay_with_the_mask(client: FlaskClient) -> None:
    there = draft(brush("old", LARGE))
    first = keypoint("a", 25, 50, positive=False)
    click(client, first, drafts=there)
    (result,) = click(client, first, keypoint("b", 80, 50), drafts=there)["result"]
    assert result["id"] == "old"
    mask = mask_of(result)
    assert mask[150, 320]
    assert mask[150, 55]
    assert not mask[150, 100]


def test_a_mask_in_the_annotation_is_finished_as_well(client: FlaskClient) -> None:
    body = request_body([keypoint("k", 25, 50, positive=False)])
    body["tasks"][0]["annotations"] = [{"id": 1, "result": [brush("old", LARGE)]}]
    (answer,) = post(client, "/predict", body)["results"]
    assert answer["result"][0]["id"] == "old"
    body["tasks"][0]["annotations"] *= 2  # whose of them is being worked on?
    assert post(client, "/predict", body)["results"][0]["result"] == []


@pytest.mark.parametrize(
    ("prompt", "there"),
    [
        pytest.param(keypoint("k", 80, 50), brush("old", LARGE), id="elsewhere"),
        pytest.param(keypoint("k", 25, 50), brush("old", LARGE), id="positive, inside of it"),
        pytest.param(
            keypoint("k", 72.5, 50, label="Bike"), brush("old", SMALL), id="with another label"
        ),
        pytest.param(keypoint("k", 72.5, 50), brush("old", SMALL, item_index=1), id="another page"),
        pytest.param(rectangle("k", 60, 40, 20, 20), brush("old", SMALL), id="a rectangle"),
        pytest.param(
            keypoint("k", 72.5, 50), {**brush("old", SMALL), "value": {"rle": [1, 2]}}, id="damaged"
        ),
        pytest.param(
            keypoint("k", 72.5, 50), region("old", {"points": "?"}, "polygonlabels"), id="no shape"
        ),
    ],
)
def test_other_prompts_start_a_new_object(
    client: FlaskClient, prompt: dict[str, Any], there: dict[str, Any]
) -> None:
    (result,) = click(client, prompt, drafts=draft(there))["result"]
    assert result["id"] == "m-k"
    assert not mask_of(result)[150, 45]


@pytest.mark.parametrize(
    "regions",
    [
        [region("old", value, "bitmasklabels") for value in mask_writer.bitmask(LARGE)],
        [region("old", value, "polygonlabels") for value in mask_writer.polygons(LARGE, 1.0)],
    ],
    ids=["bitmask", "polygon"],
)
def test_a_mask_may_have_any_form(client: FlaskClient, regions: list[dict[str, Any]]) -> None:
    cut = keypoint("k", 25, 50, positive=False)
    (result,) = click(client, cut, drafts=draft(*regions))["result"]
    assert result["id"] == "old"
    assert mask_of(result)[150, 55]


def test_the_parts_of_an_object_are_one_mask(client: FlaskClient) -> None:
    values = mask_writer.polygons(LARGE | disc(300, 150, 30), 1.0)
    parts = [
        region(id_, v, "polygonlabels") for id_, v in zip(("old", "old.2"), values, strict=True)
    ]
    cut = keypoint("k", 25, 50, positive=False)
    (result,) = click(client, cut, drafts=draft(*parts))["result"]
    assert result["id"] == "old"
    assert mask_of(result)[150, 300]


def test_a_mask_saved_once_per_control_is_one_mask(client: FlaskClient) -> None:
    twin = {**brush("old", LARGE), "type": "keypointlabels", "from_name": "tag2"}
    cut = keypoint("k", 25, 50, positive=False)
    (result,) = click(client, cut, drafts=draft(brush("old", LARGE), twin))["result"]
    assert result["id"] == "old"


def test_half_of_a_real_object_is_completed(engine: Engine) -> None:
    pixels, ball, _ = scene()
    left = ball & (np.arange(640) < 180)
    target = Target("image", None, ("Car",), 640, 480, 0.0)
    there = {
        **brush("old", left),
        "original_width": 640,
        "original_height": 480,
        "value": {"format": "rle", "rle": rle.encode(left), "brushlabels": ["Car"]},
    }
    task = {"id": 1, "drafts": draft(there)}
    right = Prompt("k", 100 * 230 / 640, 100 * 200 / 480)
    embedding = engine.encode(pixels)
    [(id_, grown)] = Objects().segment(engine, embedding, task, target, [right], {"k"})
    assert id_ == "old"
    assert iou(grown.mask, ball) > 0.9


def test_hand_painted_pixels_away_from_clicks_stay_unchanged(
    client: FlaskClient,
) -> None:
    painted = LARGE.copy()
    painted[110:112, 60:140] = False  # a scratch finer than the model sees
    cut = keypoint("k", 25, 60, positive=False)
    (result,) = click(client, cut, drafts=draft(brush("old", painted)))["result"]
    mask = mask_of(result)
    assert not mask[180, 100]
    assert np.array_equal(mask[:140], painted[:140])


def test_the_masks_of_a_task_are_read_when_it_is_opened(services: Callable[..., Services]) -> None:
    made = services()
    client = create_app(made.settings, made).test_client()
    body = request_body(None)
    body["tasks"][0]["annotations"] = [{"id": 1, "result": [brush("old", LARGE)]}]
    post(client, "/predict", body)
    wait_until(lambda: len(made.masks.objects._masks))
    assert len(made.masks.objects._masks) == 1
    body["params"]["context"] = {"result": [keypoint("k", 25, 50, positive=False)]}
    (answer,) = post(client, "/predict", body)["results"]
    assert answer["result"][0]["id"] == "old"
    assert len(made.masks.objects._masks) == 1, "the click found it read"


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        pytest.param(keypoint("k", 25, 10), 0, id="far above all"),
        pytest.param(keypoint("k", 50, 50), 3, id="beside them"),
        pytest.param(keypoint("k", 25, 50), 1, id="inside the last"),
        pytest.param(keypoint("k", 25, 50, positive=False), 1, id="negative, inside the last"),
    ],
)
def test_a_click_reads_the_masks_that_it_may_mean(
    services: Callable[..., Services], prompt: dict[str, Any], read: int
) -> None:
    made = services()
    client = create_app(made.settings, made).test_client()
    there = draft(brush("a", SMALL), brush("b", disc(300, 200, 8)), brush("c", LARGE))
    click(client, prompt, drafts=there)
    assert len(made.masks.objects._masks) == read


def test_a_later_click_beside_a_mask_costs_one_decode(services: Callable[..., Services]) -> None:
    engine = Counted(DiscEngine())
    made = services(engine)
    client = create_app(made.settings, made).test_client()
    there = draft(brush("old", LARGE))
    points = [keypoint(f"k{i}", 70 + 4 * i, 50) for i in range(4)]
    for count in range(1, 5):
        click(client, *points[:count], drafts=there)
        assert engine.decodes == count


def test_the_present_state_of_a_mask_counts_not_the_remembered_one(
    client: FlaskClient,
) -> None:
    cut = keypoint("k", 25, 50, positive=False)
    click(client, cut, drafts=draft(brush("old", LARGE)))
    painted = LARGE | disc(200, 150, 30)
    (result,) = click(client, cut, drafts=draft(brush("old", painted)))["result"]
    assert mask_of(result)[150, 210]
    (more,) = click(client, cut, keypoint("l", 80, 80), drafts=draft(brush("old", painted)))[
        "result"
    ]
    assert mask_of(more)[150, 210]


def nearly_same() -> tuple[Mask, Mask]:
    """Masks of hundreds of stripes, one of which is moved a little.

    Their brush encodings are as long as each other, and equal but for a few bytes.
    """
    stripes = np.zeros((300, 400), bool)
    for row in range(0, 300, 3):
        for column in range(0, 380, 40):
            stripes[row, column + 8 : column + 24] = True
    wanted = rle.encode(stripes)
    step = len(wanted) // 256
    for row in range(150, 300, 3):
        moved = stripes.copy()
        moved[row] = np.roll(moved[row], 4)
        encoded = rle.encode(moved)
        if len(encoded) == len(wanted) and encoded[::step] == wanted[::step]:
            return stripes, moved
    raise AssertionError("no stripe can be moved unnoticed")


@pytest.mark.parametrize("as_text", [False, True])
def test_masks_that_differ_in_a_few_bytes_are_told_apart(as_text: bool) -> None:
    objects, found = Objects(), list[Mask]()
    for mask in nearly_same():
        there = brush("old", mask)
        if as_text:  # as the body of a request is read
            there["value"]["rle"] = ", ".join(map(str, there["value"]["rle"]))
        (known,) = objects.existing_of_any_label({"drafts": draft(there)}, target())
        found.append(known.low_res)
    assert not np.array_equal(found[0], found[1])


VERTICES = mask_writer.vectors(LARGE, 1.0)[0]["vertices"]
URL = mask_writer.bitmask(SMALL)[0]["imageDataURL"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            {"vertices": VERTICES, "closed": False},
            {"vertices": VERTICES, "closed": True},
            id="an open and a closed vector",
        ),
        pytest.param(
            {"points": VERTICES},
            {"vertices": VERTICES, "closed": True},
            id="vertices in the place of points",
        ),
        pytest.param(
            {"imageDataURL": URL, "points": [[0, 0], [9, 0], [9, 9]]},
            {"imageDataURL": URL, "points": [[50, 50], [99, 50], [99, 99]]},
            id="outlines beside the same bitmask",
        ),
        pytest.param({"rle": URL}, {"imageDataURL": URL}, id="a bitmask in the place of a brush"),
    ],
)
def test_a_mask_is_remembered_by_all_that_it_is_read_from(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    shared = Objects()
    alone, after = (
        [
            objects.existing_of_any_label({"drafts": draft(region("old", value))}, target())[
                0
            ].low_res.copy()
            for value in values
        ][-1]
        for objects, values in ((Objects(), [second]), (shared, [first, second]))
    )
    assert alone.any()
    assert np.array_equal(alone, after)


def target() -> Target:
    """What a click on these pictures means."""
    return Target("image", None, ("Car",), 400, 300, 0)
