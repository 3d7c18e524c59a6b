"""The routes for programs: embed once, segment many times, in each format, with limits."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from sam_backend.formats import rle
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared import program_ids
from sam_backend.shared.click_budget import DECODES_A_REQUEST
from tests.fakes import DiscEngine, picture
from tests.server.program_requests import ask, embed, mask_of, problem, segment
from tools.quality.engines import Counted

ServicesOf = Callable[..., Services]


@pytest.fixture
def counting(services: ServicesOf) -> tuple[Counted, FlaskClient]:
    engine = Counted(DiscEngine())
    made = services(engine)
    return engine, create_app(made.settings, made).test_client()


def test_an_image_is_embedded_once_and_segmented_often(
    counting: tuple[Counted, FlaskClient],
) -> None:
    engine, client = counting
    embedded = client.post("/v1/embed", data=picture(), content_type="image/png").get_json()
    assert (embedded["width"], embedded["height"]) == (400, 300)
    assert embedded["kept_seconds"] == program_ids.KEPT_S
    for x in (50, 200):
        mask = mask_of(segment(client, embedded["image_id"], points=[[x, 90]], format="coco_rle"))
        assert mask[90, x]
    assert engine.encodes == 1


@pytest.mark.parametrize(
    "image",
    [
        {"base64": base64.b64encode(picture()).decode()},
        {"url": "data:image/png;base64," + base64.b64encode(picture()).decode()},
    ],
)
def test_an_image_comes_in_json_too(
    counting: tuple[Counted, FlaskClient], image: dict[str, str]
) -> None:
    """The same picture is encoded once, however it comes."""
    engine, client = counting
    one = ask(client, "/v1/embed", image=image)["image_id"]
    answer = ask(client, image=image, points=[[200, 150]])
    assert answer["image_id"] != one
    assert segment(client, answer["image_id"], points=[[200, 150]])["area"] > 0
    embed(client)
    assert engine.encodes == 1


def test_each_format_is_the_same_mask(client: FlaskClient) -> None:
    embedded = embed(client)
    answers = {
        form: segment(client, embedded, points=[[200, 150]], format=form)
        for form in ("polygon", "rle", "coco_rle", "png", "bitmask")
    }
    mask = mask_of(answers["coco_rle"])
    assert np.array_equal(rle.decode(answers["rle"]["mask"], 300, 400), mask)
    for form, channel in (("png", None), ("bitmask", 3)):
        png = base64.b64decode(answers[form]["mask"].removeprefix("data:image/png;base64,"))
        image = Image.open(io.BytesIO(png))
        pixels = np.asarray(image if channel is None else image.convert("RGBA"))
        assert np.array_equal((pixels if channel is None else pixels[..., channel]) > 0, mask)
    (outline,) = answers["polygon"]["mask"]
    left, top, right, bottom = answers["polygon"]["box"]
    xs, ys = zip(*outline, strict=True)
    assert (left, right) == (round(min(xs)), round(max(xs)))
    assert (top, bottom) == (round(min(ys)), round(max(ys)))
    assert {answer["area"] for answer in answers.values()} == {int(mask.sum())}
    assert {answer["format"] for answer in answers.values()} == set(answers)


def test_points_refine_an_earlier_answer(counting: tuple[Counted, FlaskClient]) -> None:
    engine, client = counting
    image = embed(client)
    first = segment(client, image, points=[[100, 100]], format="coco_rle")
    more: dict[str, Any] = {"points": [[300, 200]], "labels": [1], "format": "coco_rle"}
    second = segment(client, image, mask_input=first["answer_id"], **more)
    assert mask_of(second)[100, 100]
    assert mask_of(second)[200, 300]
    assert engine.decodes == 2, "what was decoded is not decoded again"
    less = segment(
        client,
        image,
        mask_input=second["answer_id"],
        points=[[300, 200]],
        labels=[0],
        format="coco_rle",
    )
    assert mask_of(less)[100, 100]
    assert not mask_of(less)[200, 300]


def test_an_answer_is_asked_for_in_another_format(
    counting: tuple[Counted, FlaskClient],
) -> None:
    engine, client = counting
    image = embed(client)
    for prompt in ({"points": [[100, 100]]}, {"box": [50, 50, 150, 150]}):
        first = segment(client, image, **prompt, format="coco_rle")
        before = engine.decodes
        again = segment(client, image, mask_input=first["answer_id"], format="coco_rle")
        assert again["mask"] == first["mask"]
        assert engine.decodes == before


def test_several_objects_come_in_order_and_one_that_fails_says_why(client: FlaskClient) -> None:
    image = embed(client)
    objects = [
        {"points": [[100, 100]]},
        {"points": [[1000, 100]]},
        {"box": [200, 100, 300, 200]},
        {"points": [[5, 5]], "labels": [0]},
    ]
    found = ask(client, image_id=image, objects=objects, format="coco_rle")["objects"]
    assert mask_of(found[0])[100, 100]
    assert "outside the image of 400x300 pixels" in found[1]["error"]
    assert mask_of(found[2])[150, 250]
    assert "only points that are not on the object" in found[3]["error"]


def test_a_request_has_the_budget_of_a_click(counting: tuple[Counted, FlaskClient]) -> None:
    """What does not fit follows with the next request."""
    engine, client = counting
    image = embed(client)
    objects = [{"points": [[5 * n, 100]]} for n in range(DECODES_A_REQUEST + 6)]
    found = ask(client, image_id=image, objects=objects)["objects"]
    assert sum("error" in each for each in found) == 6
    assert f"more than {DECODES_A_REQUEST} new masks" in found[-1]["error"]
    assert engine.decodes == DECODES_A_REQUEST
    again = ask(client, image_id=image, objects=objects)["objects"]
    assert not any("error" in each for each in again)


def test_an_answer_has_room_for_so_many_pixels_of_masks(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_backend.server.programs.answer_limits.MOST_PIXELS", 10 * 400 * 300)
    image, objects = embed(client), [{"points": [[100, 5 * n]]} for n in range(11)]
    for form in ("coco_rle", "png", "bitmask"):
        found = ask(client, image_id=image, objects=objects, format=form)["objects"]
        assert ["error" in each for each in found] == [n >= 10 for n in range(11)]
    assert "room for 10 masks" in found[-1]["error"]


def test_everything_is_found(client: FlaskClient) -> None:
    image = embed(client)
    answer = ask(client, "/v1/everything", image_id=image, grid=4, most=3, format="coco_rle")
    assert 0 < len(answer["objects"]) <= 3
    assert all(mask_of(each).any() for each in answer["objects"])


def test_a_deleted_image_is_forgotten(counting: tuple[Counted, FlaskClient]) -> None:
    engine, client = counting
    image = embed(client)
    answer = segment(client, image, points=[[100, 100]])["answer_id"]
    assert client.delete(f"/v1/images/{image}").status_code == 204
    gone = problem(client.post("/v1/segment", json={"image_id": image, "points": [[1, 1]]}), 404)
    assert gone == "no image has this id, or it is no longer kept: embed the image again"
    problem(client.delete(f"/v1/images/{image}"), 404)
    again = embed(client)
    assert engine.encodes == 2, "its embedding is gone too"
    body = {"image_id": again, "mask_input": answer}
    assert "no answer about this image" in problem(client.post("/v1/segment", json=body), 404)


def test_an_image_stays_while_another_id_stands_for_it(
    counting: tuple[Counted, FlaskClient],
) -> None:
    engine, client = counting
    one, other = embed(client), embed(client)
    client.delete(f"/v1/images/{one}")
    assert segment(client, other, points=[[100, 100]])["area"] > 0
    assert engine.encodes == 1
