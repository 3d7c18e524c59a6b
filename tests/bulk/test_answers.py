"""What tasks are answered without a click: one call for Label Studio's batches and the commands."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sam_backend.bulk.answers import (
    answer_tasks,
    batch_predictions,
    planned,
)
from sam_backend.bulk.prompted import Prompted
from sam_backend.bulk.proposals import Proposals
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import BRUSH_LABELS, SHARED_LABELS, inline, keypoint, picture, rectangle
from tests.held import wait_until

MakeServices = Callable[..., Services]


def task(*prompts: dict[str, Any], width: int = 400, **more: Any) -> dict[str, Any]:
    """A task with a detector's prediction."""
    prediction = {"id": 1, "model_version": "detector", "result": list(prompts)}
    image = inline(picture(width=width))
    return {"id": 1, "data": {"image": image}, "predictions": [prediction], **more}


def answer(services: Services, *made: dict[str, Any], xml: str = BRUSH_LABELS) -> TaskAnswer:
    [found] = answer_tasks(services, "", xml, [(task(*made), Prompted())])
    assert found is not None
    return found


def test_masks_keep_the_prompts_labels_and_follow_from_their_ids(services: MakeServices) -> None:
    prompts = rectangle("a", 10, 10, 20, 20, label="Car"), keypoint("b", 80, 80, label="Bike")
    regions = answer(services(), *prompts).regions
    assert [region["id"] for region in regions] == ["m-a", "m-b"]
    assert [region["value"]["brushlabels"] for region in regions] == [["Car"], ["Bike"]]
    assert {(r["original_width"], r["original_height"]) for r in regions} == {(400, 300)}


def test_an_existing_mask_is_not_made_again(services: MakeServices) -> None:
    made = services()
    prompts = rectangle("a", 10, 10, 20, 20), rectangle("b", 50, 50, 20, 20)
    first = task(prompts[0])
    [done] = answer_tasks(made, "", BRUSH_LABELS, [(first, Prompted())])
    assert done is not None
    again = task(*prompts)
    again["predictions"].append(done.prediction(made.model_version))
    assert [
        r["id"] for r in planned(BRUSH_LABELS, again, Prompted(), made.model_version).regions
    ] == ["m-b"]
    [second] = answer_tasks(made, "", BRUSH_LABELS, [(again, Prompted())])
    assert second is not None
    assert [region["id"] for region in second.regions] == ["m-b"]


def test_one_prompt_that_cannot_be_answered_leaves_the_others(services: MakeServices) -> None:
    prompts = rectangle("a", 10, 10, 20, 20, label="Boat"), rectangle("b", 50, 50, 20, 20)
    found = answer(services(), *prompts)
    assert [region["id"] for region in found.regions] == ["m-b"]
    assert "label 'Boat' of the prompt is missing" in found.failures[0]


def test_a_picture_of_another_size_is_refused(services: MakeServices) -> None:
    wrong = rectangle("a", 10, 10, 20, 20, original_width=800)
    assert "a mask would be shifted" in answer(services(), wrong).failures[0]


def test_nothing_to_say_is_no_prediction(services: MakeServices) -> None:
    assert answer(services()).prediction("v") is None


def test_the_score_of_a_prediction_is_that_of_its_regions() -> None:
    regions = [{"id": "a", "score": 0.5}, {"id": "a", "score": 0.5}, {"id": "b", "score": 0.9}]
    prediction = TaskAnswer(regions).prediction("v")
    assert prediction == {"result": regions, "score": 0.7, "model_version": "v"}


def test_proposals_may_come_without_a_label(services: MakeServices) -> None:
    made = services()
    for xml, count in ((BRUSH_LABELS, 1), (SHARED_LABELS, 1)):
        [found] = answer_tasks(made, "", xml, [(task(), Proposals(grid=4, most=1))])
        assert found is not None
        assert len(found.regions) == count
        assert not found.regions[0]["value"].get("brushlabels")


def test_proposals_may_have_a_label(services: MakeServices) -> None:
    asked = Proposals(label="Bike", grid=4, most=1)
    [found] = answer_tasks(services(), "", SHARED_LABELS, [(task(), asked)])
    assert found is not None
    assert [region["type"] for region in found.regions] == ["brush", "labels"]
    assert found.regions[1]["value"]["labels"] == ["Bike"]


def test_proposals_are_made_once(services: MakeServices) -> None:
    made, asked = services(), Proposals(grid=4)
    [first] = answer_tasks(made, "", BRUSH_LABELS, [(task(), asked)])
    assert first is not None
    again = task(predictions=[first.prediction(made.model_version)])
    assert answer_tasks(made, "", BRUSH_LABELS, [(again, asked)]) == [TaskAnswer([])]


def test_each_page_gets_its_proposals(services: MakeServices) -> None:
    xml = BRUSH_LABELS.replace('value="$image"', 'valueList="$pages"', 1)
    pages = [inline(picture()), inline(picture(width=320))]
    many = {"id": 1, "data": {"pages": pages}}
    [found] = answer_tasks(services(), "", xml, [(many, Proposals(grid=4, most=1))])
    assert found is not None
    assert [(r["id"], r["item_index"], r["original_width"]) for r in found.regions] == [
        ("proposal-0-1", 0, 400),
        ("proposal-1-1", 1, 320),
    ]


def test_tasks_without_time_are_left_out_and_prepared(services: MakeServices) -> None:
    made = services()
    box = rectangle("a", 10, 10, 20, 20, original_width=500)
    late = [task(box, width=500, id=number) for number in (1, 2)]
    asked = [(each, Prompted()) for each in late]
    assert answer_tasks(made, "", BRUSH_LABELS, asked, time.monotonic()) == [None, None]
    wait_until(lambda: len(made.images.embeddings) == 1)
    in_time = answer_tasks(made, "", BRUSH_LABELS, asked, time.monotonic() + 600)
    assert all(found is not None and found.regions for found in in_time)


def batch(made: Services, tasks: list[dict[str, Any]], **more: Any) -> list[list[str]]:
    """The regions of each task that Label Studio gets."""
    answers = batch_predictions(made, "", BRUSH_LABELS, tasks, time.monotonic() + 600, **more)
    return [[region["id"] for answer in found for region in answer["result"]] for found in answers]


def test_a_batch_gets_masks_for_the_prompts_that_tasks_have(services: MakeServices) -> None:
    assert batch(services(), [task(rectangle("a", 10, 10, 20, 20)), task()]) == [["m-a"], []]


def test_a_batch_gets_proposals_where_they_are_wanted_and_nothing_is(
    services: MakeServices,
) -> None:
    bare, boxed = task(predictions=[]), task(rectangle("a", 10, 10, 20, 20))
    hand = {"id": 1, "result": [rectangle("b", 10, 10, 20, 20)]}
    tasks = [bare, boxed, task(), task(predictions=[], annotations=[hand])]
    wanted = Proposals(grid=4, most=1)
    assert batch(services(), tasks, proposals=wanted) == [["proposal-1"], ["m-a"], [], ["m-b"]]


def test_failures_of_a_batch_are_on_the_status_page(services: MakeServices) -> None:
    made = services()
    assert batch(made, [task(rectangle("a", 10, 10, 20, 20, label="Boat"))]) == [[]]
    [refusal] = made.state.refusals() or []
    assert (refusal.where, refusal.cause) == ("task 1", "batch")
    assert "label 'Boat'" in refusal.message


def predict(made: Services, *tasks: dict[str, Any]) -> list[Any]:
    """What Label Studio is answered that asks without a click."""
    body = {"tasks": tasks, "label_config": BRUSH_LABELS, "project": "1.1"}
    response = create_app(made.settings, made).test_client().post("/predict", json=body)
    assert response.json is not None
    results: list[Any] = response.json["results"]
    return results


def test_label_studio_gets_masks_for_a_batch_and_nothing_for_an_opened_task(
    services: MakeServices,
) -> None:
    boxed = task(rectangle("a", 10, 10, 20, 20))
    [[prediction], nothing] = predict(services(), boxed, task())
    assert [region["id"] for region in prediction["result"]] == ["m-a"]
    assert nothing == []
    assert predict(services(), boxed) == [[]]


def test_an_opened_task_gets_proposals_where_the_operator_wants_that(
    services: MakeServices,
) -> None:
    made = services(PROPOSALS="on")
    [[prediction]] = predict(made, task(predictions=[]))
    assert [region["id"] for region in prediction["result"]][:1] == ["proposal-1"]
    assert predict(made, task()) == [[]]  # it has a prediction already
