"""What newer clients ask, and clicks that lost their context: an answer that harms nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.clicks.test_newest import CONTEXTS
from tests.fakes import SHARED_LABELS, inline, keypoint, picture, rectangle, request_body
from tests.held import wait_until
from tests.server.clicks import click, errors, mask_of, post


def ask(client: FlaskClient, **context: Any) -> Any:
    body = request_body([])
    body["params"]["context"] = context
    [answer] = post(client, "/predict", body)["results"]
    assert set(answer) == {"result", "score", "model_version"}
    return answer["result"]


def test_capabilities_name_the_controls_for_images(client: FlaskClient) -> None:
    [region] = ask(client, event="capabilities")
    assert region["type"] == "capabilities"
    assert region["value"]["prompts"] == ["point", "box"]
    targets = {target["tag"]: target["output"] for target in region["value"]["targets"]}
    assert targets["BitmaskLabels"] == "mask"
    assert targets["VectorLabels"] == "polygon"
    assert not any(tag.startswith("Video") for tag in targets)
    assert region["value"]["model_info"]["version"] == "test-model"


def test_capabilities_need_no_task(client: FlaskClient) -> None:
    body = request_body([])
    body |= {"tasks": [], "params": {"context": {"event": "capabilities"}}}
    [answer] = post(client, "/predict", body)["results"]
    assert answer["result"][0]["type"] == "capabilities"


def test_prewarm_gets_the_image_ready(services: Callable[..., Services]) -> None:
    made = services()
    client = create_app(made.settings, made).test_client()
    [region] = ask(client, event="prewarm", frame=0, window=20, direction="forward")
    assert region["value"]["status"] == "ok"
    wait_until(lambda: len(made.images.embeddings) == 1)


def test_release_is_acknowledged(client: FlaskClient) -> None:
    [region] = ask(client, event="release")
    assert region["value"]["status"] == "released"


@pytest.mark.parametrize("event", ["track", "track_progress", "", 7, ["predict"], {"a": 1}])
def test_an_unknown_event_gets_an_empty_answer(client: FlaskClient, event: object) -> None:
    assert ask(client, event=event, result=[keypoint("k", 50, 50)]) == []
    assert errors(client) == []


@pytest.mark.parametrize("event", ["predict", None])
def test_predict_is_a_click(client: FlaskClient, event: object) -> None:
    [region] = ask(client, event=event, result=[keypoint("k", 50, 50)])
    assert mask_of(region)[150, 200]


def test_a_keypoint_is_negative_by_its_value_too(client: FlaskClient) -> None:
    negative = keypoint("b", 54, 50, positive=None)
    negative["value"]["positive"] = False
    [with_both] = click(client, keypoint("a", 50, 50), negative)["result"]
    [alone] = click(client, keypoint("a", 50, 50), task_id=2)["result"]
    assert mask_of(with_both).sum() < mask_of(alone).sum()


@pytest.mark.parametrize("context", [None, {}, {"result": None}, []])
def test_a_click_without_its_context_is_explained(client: FlaskClient, context: object) -> None:
    body = request_body([])  # with drafts, as a click has them
    body["params"]["context"] = context
    [answer] = post(client, "/predict", body)["results"]
    assert answer["result"] == []
    [error] = errors(client)
    assert "came without its prompts" in error


def bare(id_: str, x: float) -> list[dict[str, Any]]:
    """A bare rectangle with its label, as a draft holds it."""
    place = {"x": x, "y": 20, "width": 20, "height": 20, "rotation": 0}
    shape = {**rectangle(id_, x, 20, 20, 20), "type": "rectangle", "from_name": "box"}
    label = {**shape, "type": "labels", "from_name": "label", "value": {**place, "labels": ["Car"]}}
    return [{**shape, "value": place}, label]


# All rectangles of this control are prompts.
SMART_ONLY = SHARED_LABELS.replace("<Rectangle ", '<Rectangle smartOnly="true" ')


def draft(*results: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "updated_at": "2026-01-01T00:00:00Z", "result": list(results)}


def test_an_empty_context_is_answered_from_the_draft(client: FlaskClient) -> None:
    """Later versions than 1.23.2 send nothing for a bare rectangle."""
    assert click(client, config=SMART_ONLY)["result"] == []
    assert errors(client) == []
    saved = bare("r", 10)
    mask, _ = click(client, config=SMART_ONLY, drafts=[draft(*saved)])["result"]
    assert (mask["id"], mask["type"]) == ("m-r", "brush")
    assert "<RectangleLabels>" in errors(client)[0]

    accepted = {**mask, "id": "m-r"}
    later = [draft(*saved, accepted, *bare("s", 50))]
    again, _ = click(client, config=SMART_ONLY, drafts=later)["result"]
    assert again["id"] == "m-s"


def test_saving_with_prompts_left_brings_no_mask(client: FlaskClient) -> None:
    """Label Studio 1.23.2 sends an empty context then; it sent the rectangle before."""
    saved = bare("r", 10)
    assert click(client, *saved, config=SMART_ONLY)["result"]
    assert click(client, config=SMART_ONLY, drafts=[draft(*saved)])["result"] == []
    post(client, "/webhook", {"action": "ANNOTATION_CREATED", "task": {"id": 1}})
    assert click(client, config=SMART_ONLY, drafts=[draft(*saved)])["result"] == []
    assert errors(client) == []


def test_boxes_that_may_be_drawn_by_hand_get_no_mask_on_saving(client: FlaskClient) -> None:
    boxes = [region for number in range(250) for region in bare(f"r{number}", number / 10)]
    assert click(client, config=SHARED_LABELS, drafts=[draft(*boxes)])["result"] == []
    assert errors(client) == []


def test_of_many_rectangles_in_a_draft_the_last_one_is_answered(client: FlaskClient) -> None:
    boxes = [region for number in range(250) for region in bare(f"r{number}", number / 10)]
    mask, _ = click(client, config=SMART_ONLY, drafts=[draft(*boxes)])["result"]
    assert mask["id"] == "m-r249"


@pytest.mark.parametrize("version", ["label_studio_1_23_2", "newer"])
@pytest.mark.parametrize(
    ("name", "counts"),
    [("label_controls", [1, 2, 1]), ("boxes_of_their_own_control", [1, 2, 1])],
)
def test_recorded_contexts_bring_the_masks_that_were_asked_for(
    client: FlaskClient, name: str, counts: list[int], version: str
) -> None:
    recorded = orjson.loads((CONTEXTS / f"{name}.json").read_bytes())
    by_hand = [r for r in recorded["steps"][0]["newer"][:-1] if name.startswith("boxes")]
    for step, count in zip(recorded["steps"], counts, strict=True):
        results = click(
            client,
            *step[version],
            config=recorded["label_config"],
            image=inline(picture(640, 426)),
            drafts=[draft(*by_hand)],
        )["result"]
        masks = [result for result in results if result["type"].startswith("brush")]
        assert len(masks) == count
        assert masks[-1]["id"] == f"m-{step['newer'][-1]['id']}"
