"""`/v1/find-similar`: the other objects that are like some examples, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from sam_backend.exports import coco_rle
from sam_backend.server.app import create_app
from sam_backend.server.programs import answer_limits
from sam_backend.services import Services
from sam_backend.shared.click_budget import DECODES_A_REQUEST, DECODES_A_SEARCH
from tests.clicks.saved_masks import disc
from tests.server.program_requests import ask, embed, mask_of, problem, segment
from tests.street import CARS, LOOKS, RADIUS, TREES, VANS, Street
from tools.quality.engines import Counted

EVERY = [place for places, _ in LOOKS for place in places]


@pytest.fixture
def street() -> Counted:
    return Counted(Street())


@pytest.fixture
def client(services: Callable[..., Services], street: Counted) -> FlaskClient:
    made = services(street)
    return create_app(made.settings, made).test_client()


def find(client: FlaskClient, **body: Any) -> list[dict[str, Any]]:
    image = body.pop("image_id", None) or embed(client)
    answer = ask(client, "/v1/find-similar", image_id=image, format="coco_rle", **body)
    found: list[dict[str, Any]] = answer["objects"]
    return found


def places(found: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Which of the discs the masks are."""
    masks = map(mask_of, found)
    return sorted(next(place for place in EVERY if mask[place[::-1]]) for mask in masks)


def rle(place: tuple[int, int]) -> dict[str, Any]:
    """The mask of a disc, as an example."""
    return {"mask": coco_rle.encode(disc(*place, RADIUS))}


def test_a_point_on_one_object_finds_the_others_best_first(client: FlaskClient) -> None:
    found = find(client, points=[CARS[0]])
    assert places(found) == sorted(CARS[1:] + VANS)
    assert places(found[:3]) == sorted(CARS[1:])
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)


def test_an_example_is_a_mask_an_earlier_answer_or_a_box(client: FlaskClient) -> None:
    image = embed(client)
    x, y = CARS[0]
    answer = segment(client, image, points=[CARS[0]])["answer_id"]
    for example in (
        rle(CARS[0]),
        {"mask_input": answer},
        {"box": [x - 20, y - 20, x + 20, y + 20]},
    ):
        assert places(find(client, image_id=image, **example)) == sorted(CARS[1:] + VANS)
        found = find(client, image_id=image, objects=[example, rle(TREES[0])])
        assert places(found) == sorted(CARS[1:] + VANS + TREES[1:])


def test_what_is_like_a_negative_is_left_out(client: FlaskClient) -> None:
    for negative in ({"points": [VANS[0]]}, rle(VANS[0])):
        assert places(find(client, **rle(CARS[0]), negatives=[negative])) == sorted(CARS[1:])


def test_what_is_taken_is_left_out(client: FlaskClient) -> None:
    found = find(client, **rle(CARS[0]), taken=[rle(CARS[1]), rle(VANS[0])])
    assert places(found) == sorted([*CARS[2:], VANS[1]])


def test_fewer_are_answered_if_fewer_are_wanted(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places(find(client, **rle(CARS[0]), most=1))[0] in CARS
    monkeypatch.setattr(answer_limits, "MOST_PIXELS", 2 * 400 * 300)
    assert len(find(client, **rle(CARS[0]))) == 2


def test_nothing_alike_is_an_empty_list(client: FlaskClient) -> None:
    others = [rle(place) for place in EVERY[1:]]
    assert find(client, **rle(CARS[0]), taken=others) == []


def test_a_search_has_fewer_decodes_if_its_examples_take_some(
    client: FlaskClient, street: Counted
) -> None:
    image = embed(client)
    most = [{"points": [[10 * n, 290]]} for n in range(DECODES_A_REQUEST)]
    first = find(client, image_id=image, objects=most)
    assert street.decodes <= DECODES_A_SEARCH
    assert find(client, image_id=image, objects=most) == first, "also when its examples are known"


def test_examples_have_the_budget_of_a_click(client: FlaskClient) -> None:
    image = embed(client)
    more = [{"points": [[10 * n, 280]]} for n in range(DECODES_A_REQUEST + 1)]
    response = client.post("/v1/find-similar", json={"image_id": image, "objects": more})
    assert f"more than {DECODES_A_REQUEST} new masks" in problem(response, 422)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 422, "there is no prompt"),
        ({"mask": {"size": [300, 400], "counts": [120_000]}}, 422, "an example is missing"),
        ({"mask": {"size": [30, 40], "counts": [1200]}}, 422, "is not that of the image"),
        ({"mask": {"size": [300, 400], "counts": "§"}}, 422, "a mask cannot be read"),
        ({"mask": {"size": [300, 400], "counts": [5]}}, 422, "do not add up"),
        ({"mask": {"counts": [5]}}, 422, "is not that of the image"),
        ({"mask": [1]}, 400, "'mask' is not"),
        ({"mask": {}, "points": [[1, 1]]}, 400, "either a 'mask' or what points"),
        ({"points": [[60, 60]], "negatives": {}}, 400, "'negatives' is not a list"),
        ({"points": [[60, 60]], "negatives": [[1]]}, 400, "one of 'negatives'"),
        ({"points": [[60, 60]], "taken": "all"}, 400, "'taken' is not a list"),
        ({"points": [[60, 60]], "taken": [{"box2": 1}]}, 400, "there is no field 'box2'"),
        ({"points": [[60, 60]], "taken": [{}] * 100}, 400, "over 100 objects in 'objects'"),
        ({"points": [[60, 60]], "most": 65}, 400, "'most' is not a number from 1 to 64"),
        ({"points": [[60, 60]], "objects": [{}]}, 400, "not in both"),
        ({"points": [[60, 60]], "level": "all"}, 400, "there is no field 'level'"),
    ],
)
def test_what_a_request_should_not_be(
    client: FlaskClient, body: dict[str, Any], status: int, message: str
) -> None:
    response = client.post("/v1/find-similar", json={"image_id": embed(client), **body})
    assert message in problem(response, status)


def test_a_mask_is_sampled_as_it_is_decoded() -> None:
    mask = np.random.default_rng(3).random((37, 53)) > 0.6
    rows, columns = np.array([0, 5, 36]), np.array([0, 1, 30, 52])
    for first in (mask, ~mask):
        sampled = coco_rle.sample(coco_rle.encode(first), rows, columns)
        assert np.array_equal(sampled, first[np.ix_(rows, columns)])
