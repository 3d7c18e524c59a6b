"""A control with `sam_find="rest"`: its prompts are examples, the answer is all that is alike."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from sam_backend.clicks import find_rest
from sam_backend.clicks.output import Output, ScoredMask
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared.click_budget import DECODES_A_SEARCH
from tests.clicks.saved_masks import brush, disc, draft
from tests.fakes import inline, keypoint, picture, rectangle, request_body
from tests.server.clicks import click, errors, mask_of
from tests.street import CARS, LOOKS, RADIUS, TREES, VANS, Street
from tools.quality.engines import Counted

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="tag" toName="image"><Label value="Car"/><Label value="Bike"/></BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true">
    <Label value="Car"/><Label value="Bike"/></KeyPointLabels>
  <KeyPointLabels name="rest" toName="image" smart="true" sam_find="rest">
    <Label value="Car"/><Label value="Bike"/></KeyPointLabels>
  <RectangleLabels name="rest-box" toName="image" smart="true" sam_find="rest">
    <Label value="Car"/><Label value="Bike"/></RectangleLabels>
</View>"""


@pytest.fixture
def street() -> Counted:
    return Counted(Street())


@pytest.fixture
def client(services: Callable[..., Services], street: Counted) -> FlaskClient:
    made = services(street)
    return create_app(made.settings, made).test_client()


def example(id_: str, place: tuple[int, int], **more: Any) -> dict[str, Any]:
    return keypoint(id_, place[0] / 4, place[1] / 3, **{"from_name": "rest", **more})


def find(client: FlaskClient, *context: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = click(client, *context, config=CONFIG, **more)["result"]
    return result


def places(found: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Which of the discs the results are."""
    every = [place for some, _ in LOOKS for place in some]
    masks = [mask_of(result) for result in found]
    return sorted(next(p for p in every if mask[p[1], p[0]]) for mask in masks)


def test_a_click_on_one_answers_with_it_and_the_rest_in_order_of_likeness(
    client: FlaskClient,
) -> None:
    found = find(client, example("k", CARS[0]))
    assert places(found) == sorted(CARS + VANS)
    assert places(found[:4]) == sorted(CARS)
    assert len({result["id"] for result in found}) == len(found)
    scores = [result["score"] for result in found[1:]]
    assert scores == sorted(scores, reverse=True)
    assert all(result["value"]["brushlabels"] == ["Car"] for result in found)


def test_the_same_click_again_names_the_same_regions(client: FlaskClient) -> None:
    ids = [[r["id"] for r in find(client, example("k", CARS[0]))] for _ in range(2)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("label", ["Car", "Bike"])
def test_what_has_a_mask_already_is_left_out_whatever_its_label(
    client: FlaskClient, label: str
) -> None:
    there = brush("old", disc(*CARS[1], RADIUS))
    there["value"]["brushlabels"] = [label]
    found = find(client, example("k", CARS[0]), drafts=draft(there))
    assert CARS[1] not in places(found)
    assert CARS[2] in places(found)


def test_a_click_on_an_existing_mask_answers_with_the_rest_only(client: FlaskClient) -> None:
    there = brush("old", disc(*CARS[0], RADIUS))
    found = find(client, example("k", CARS[0]), drafts=draft(there))
    assert places(found) == sorted(CARS[1:] + VANS)


def test_a_rectangle_around_an_existing_mask_means_that_mask(client: FlaskClient) -> None:
    there = brush("old", disc(*CARS[0], RADIUS))
    around = rectangle("r", 9, 12, 12, 16, from_name="rest-box")
    found = find(client, around, drafts=draft(there))
    assert places(found) == sorted(CARS[1:] + VANS)


def test_a_negative_keypoint_is_a_counter_example(client: FlaskClient) -> None:
    found = find(client, example("k", CARS[0]), example("n", VANS[0], positive=False))
    assert places(found) == sorted(CARS)


def test_further_keypoints_are_further_examples(client: FlaskClient) -> None:
    found = find(client, example("k", CARS[0]), example("l", TREES[0]))
    assert places(found) == sorted(CARS + VANS + TREES)


def test_counter_examples_alone_are_refused(client: FlaskClient) -> None:
    assert find(client, example("n", VANS[0], positive=False)) == []
    assert errors(client)[0].startswith("there is no example of the kind")


def test_where_nothing_else_is_alike_a_line_says_so(client: FlaskClient) -> None:
    there = [brush(f"m{n}", disc(*place, RADIUS)) for n, place in enumerate(CARS + VANS)]
    assert find(client, example("k", CARS[0]), drafts=draft(*there)) == []
    assert errors(client)[0].startswith("nothing else in the picture is much like the examples")


def test_the_prompts_of_other_tools_are_no_examples(client: FlaskClient) -> None:
    other = keypoint("o", TREES[0][0] / 4, TREES[0][1] / 3)
    assert places(find(client, other, example("k", CARS[0]))) == sorted(CARS + VANS)
    assert places(find(client, example("k", CARS[0]), other)) == [TREES[0]]


def test_examples_are_not_joined_with_the_prompts_of_a_later_click(client: FlaskClient) -> None:
    find(client, example("k", CARS[0]))
    around = rectangle("r", 9, 12, 12, 16)
    config = CONFIG.replace('name="rest-box" toName="image" smart="true" sam_find="rest"',
                            'name="tag3" toName="image" smart="true"')  # fmt: skip
    (region,) = click(client, around, config=config)["result"]
    assert region["id"] == "m-r"


def test_masks_of_the_images_size_are_made_one_at_a_time(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty of a large image would fill the memory."""
    made: list[weakref.ref[ScoredMask]] = []
    written = Output.results

    def watched(output: Output, id_: str, found: ScoredMask, *args: Any, **more: Any) -> Any:
        gc.collect()
        assert sum(mask() is not None for mask in made) <= 2  # an earlier one may be on its way out
        made.append(weakref.ref(found))
        return written(output, id_, found, *args, **more)

    monkeypatch.setattr(Output, "results", watched)
    assert len(find(client, example("k", CARS[0]))) == len(CARS + VANS) == len(made)


def test_masks_of_huge_images_are_the_most_alike_only(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_rest, "MOST_PIXELS", 2 * 400 * 300)
    there = brush("old", disc(*CARS[0], RADIUS))
    assert len(find(client, example("k", CARS[0]), drafts=draft(there))) == 2


def test_counter_examples_take_no_room_of_masks_in_a_huge_image(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_rest, "MOST_PIXELS", 2 * 400 * 300)
    wrong = [example(f"n{n}", place, positive=False) for n, place in enumerate(TREES)]
    found = places(find(client, example("k", CARS[0]), *wrong))
    assert len(found) == 2
    assert CARS[0] in found


def test_all_searches_of_a_request_share_one_budget(client: FlaskClient, street: Counted) -> None:
    context = [example(f"k{n}", (10 * n, 290)) for n in range(40)]
    body = request_body(context, config=CONFIG)
    image = inline(picture())
    body["tasks"] = [{**body["tasks"][0], "id": n, "data": {"image": image}} for n in range(8)]
    assert client.post("/predict", json=body).status_code == 200
    assert street.decodes <= DECODES_A_SEARCH


def test_an_unknown_sam_find_is_named_when_the_project_is_set_up(client: FlaskClient) -> None:
    config = CONFIG.replace('sam_find="rest"', 'sam_find="all"')
    body = {"project": "1.1", "schema": config, "hostname": "http://localhost:8080"}
    assert client.post("/setup", json=body).status_code == 200
    assert any("sam_find='all' is not rest" in error for error in errors(client))
