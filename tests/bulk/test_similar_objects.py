"""The rest of a kind in whole tasks: examples are the masks that annotators accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sam_backend.bulk import examples_elsewhere
from sam_backend.bulk.answers import answer_tasks, planned
from sam_backend.bulk.overlay import mask_of
from sam_backend.bulk.similar_objects import Similar
from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.clicks import find_rest
from sam_backend.errors import Refusal
from sam_backend.services import Services
from tests.clicks.saved_masks import brush, disc
from tests.fakes import inline, picture
from tests.loopback import always, site
from tests.server.test_find_rest import CONFIG
from tests.street import CARS, LOOKS, RADIUS, TREES, VANS, Street

CAR = Similar("Car")
EVERY = [place for places, _ in LOOKS for place in places]


@pytest.fixture
def made(services: Callable[..., Services]) -> Services:
    return services(Street())


def mask(place: tuple[int, int], label: str = "Car") -> dict[str, Any]:
    region = brush(f"{label}{place}", disc(*place, RADIUS))
    region["value"]["brushlabels"] = [label]
    return region


def task(*masks: dict[str, Any], **more: Any) -> dict[str, Any]:
    annotations = [{"id": 1, "result": list(masks)}]
    return {"id": 1, "data": {"image": inline(picture())}, "annotations": annotations, **more}


def answer(services: Services, some: dict[str, Any], wanted: Similar = CAR) -> TaskAnswer:
    [found] = answer_tasks(services, "", CONFIG, [(some, wanted)])
    assert found is not None
    return found


def places(found: TaskAnswer) -> list[tuple[int, int]]:
    masks = [mask_of(region, 300, 400) for region in found.regions]
    return sorted(next(place for place in EVERY if one[place[::-1]]) for one in masks)


def test_what_is_like_a_tasks_own_masks_is_predicted_with_its_likeness(made: Services) -> None:
    found = answer(made, task(mask(CARS[0]), mask(TREES[0], "Bike")))
    assert places(found) == sorted(CARS[1:] + VANS)
    scores = [region["score"] for region in found.regions]
    assert scores == sorted(scores, reverse=True)
    assert {region["value"]["brushlabels"][0] for region in found.regions} == {"Car"}
    assert len({region["id"] for region in found.regions}) == len(found.regions)


def test_what_has_a_mask_of_any_label_is_left_out(made: Services) -> None:
    found = answer(made, task(mask(CARS[0]), mask(CARS[1]), mask(VANS[0], "Bike")))
    assert places(found) == sorted([*CARS[2:], VANS[1]])


def test_of_several_annotations_the_ground_truth_has_the_examples(made: Services) -> None:
    saved = [
        {"id": 1, "result": [mask(CARS[0])], "ground_truth": True},
        {"id": 2, "result": [mask(TREES[0])]},
    ]
    assert places(answer(made, task(annotations=saved))) == sorted(CARS[1:] + VANS)


def test_examples_may_be_those_of_another_model(made: Services) -> None:
    predicted = {"id": 5, "model_version": "detector", "result": [mask(TREES[0])]}
    some = task(mask(CARS[0]), predictions=[predicted])
    assert places(answer(made, some, Similar("Car", "predictions"))) == sorted(TREES[1:])


def test_a_task_that_was_done_is_not_done_again(made: Services) -> None:
    some = task(mask(CARS[0]), mask(TREES[0], "Bike"))
    done = answer(made, some).prediction(made.model_version)
    again = {**some, "predictions": [done]}
    assert answer(made, again) == TaskAnswer([])
    assert planned(CONFIG, again, CAR, made.model_version) == TaskAnswer([])
    assert places(answer(made, again, Similar("Bike"))) == sorted(TREES[1:])


@pytest.mark.parametrize(
    "masks", [[], [mask(CARS[0], "Bike")], [{"id": "x", "type": "brushlabels", "value": {}}]]
)
def test_a_task_without_an_example_says_so(made: Services, masks: list[dict[str, Any]]) -> None:
    some = task(*masks)
    line = "no mask in the task's annotations has 'Car' as its only label"
    for found in (answer(made, some), planned(CONFIG, some, CAR, made.model_version)):
        assert found.regions == []
        assert found.failures[0].startswith(line)


def test_a_dry_run_counts_the_tasks_with_examples(made: Services) -> None:
    assert len(planned(CONFIG, task(mask(CARS[0])), CAR, made.model_version).regions) == 1


def bare(id_: int = 2, **more: Any) -> dict[str, Any]:
    """A task without an annotation."""
    return {"id": id_, "data": {"image": inline(picture())}, **more}


def across(*tasks: dict[str, Any], label: str = "Car", place: str = "annotations") -> Similar:
    keys = ((str(number), task) for number, task in enumerate(tasks))
    return Similar(label, place, examples_elsewhere.in_tasks(keys, label, place, "own"))


def test_a_task_without_an_example_gets_what_is_like_the_masks_of_another(made: Services) -> None:
    wanted = across(bare(5), task(mask(CARS[0])))
    found = answer(made, bare(), wanted)
    assert places(found) == sorted(CARS + VANS)
    assert {region["value"]["brushlabels"][0] for region in found.regions} == {"Car"}
    assert {region["from_name"] for region in found.regions} == {"tag"}
    assert len({region["id"] for region in found.regions}) == len(found.regions)
    assert places(answer(made, bare(3), wanted)) == sorted(CARS + VANS)


def test_what_has_a_mask_of_another_label_is_left_out_there_too(made: Services) -> None:
    some = task(mask(CARS[1], "Bike"))
    assert places(answer(made, some, across(task(mask(CARS[0]))))) == sorted(
        [CARS[0], *CARS[2:], *VANS]
    )


def test_a_task_with_an_example_needs_no_others(made: Services) -> None:
    some = task(mask(TREES[0]))
    assert places(answer(made, some, across(task(mask(CARS[0]))))) == sorted(TREES[1:])


def test_examples_in_other_tasks_may_be_those_of_another_model(made: Services) -> None:
    predicted = {"id": 5, "model_version": "detector", "result": [mask(TREES[0])]}
    wanted = across(bare(1, predictions=[predicted]), place="predictions")
    assert places(answer(made, bare(), wanted)) == sorted(TREES)


def test_a_dry_run_counts_the_tasks_that_other_tasks_have_examples_for(made: Services) -> None:
    wanted = across(task(mask(CARS[0])))
    assert len(planned(CONFIG, bare(), wanted, made.model_version).regions) == 1


def test_examples_are_of_the_first_tasks_that_have_some(made: Services) -> None:
    tasks = [bare(), *[{**task(mask(CARS[0])), "id": 10 + n} for n in range(9)]]
    numbers = [10 + n for n in range(examples_elsewhere.MOST_TASKS)]
    assert repr(across(*tasks).elsewhere) == f"examples in tasks {numbers}"


def test_a_picture_that_cannot_be_read_is_no_example(made: Services) -> None:
    broken = {**task(mask(TREES[0])), "id": 8, "data": {"image": "data:image/png;base64,AAAA"}}
    wanted = across(broken, task(mask(CARS[0])))
    assert places(answer(made, bare(), wanted)) == sorted(CARS + VANS)
    found = answer(made, bare(), across(broken))
    assert found.regions == []
    assert found.failures[0].startswith("no picture with examples can be read (task 8: ")


def test_pictures_that_cannot_be_read_are_asked_for_once(
    services: Callable[..., Services],
) -> None:
    made = services(Street(), ALLOWED_IMAGE_HOSTS="127.0.0.1")
    with site() as host:
        broken = {**task(mask(TREES[0])), "data": {"image": f"{host.url}/missing.png"}}
        wanted = across(broken)
        for id_ in (2, 3):
            found = answer(made, bare(id_), wanted)
            assert found.failures[0].startswith("no picture with examples can be read")
        assert host.paths() == ["/missing.png"]


def test_examples_may_be_older_than_the_label_config(made: Services) -> None:
    renamed = {**mask(CARS[0]), "from_name": "old"}
    assert places(answer(made, bare(), across(task(renamed)))) == sorted(CARS + VANS)
    gone = {**task({**mask(CARS[1]), "to_name": "gone"}), "id": 8}
    wanted = across(gone, task(mask(CARS[0])))
    assert places(answer(made, bare(), wanted)) == sorted(CARS + VANS)
    found = answer(made, bare(), across(gone))
    assert "has no <Image" in found.failures[0]


def test_a_task_of_many_pages_has_no_more_examples_than_others(
    services: Callable[..., Services],
) -> None:
    made = services(Street(), ALLOWED_IMAGE_HOSTS="127.0.0.1")
    masks = [
        {**mask(place), "id": f"{page}{place}", "item_index": page}
        for page in range(6)
        for place in CARS
    ]
    config = CONFIG.replace('value="$image"', 'valueList="$image"')
    with site() as host:
        names = [f"/{page}.png" for page in range(6)]
        for page, name in enumerate(names):
            host.routes[name] = always(200, picture() + bytes([page]))
        several = {**task(*masks), "data": {"image": [host.url + name for name in names]}}
        one = bare(data={"image": [inline(picture())]})
        [found] = answer_tasks(made, "", config, [(one, across(several))])
    assert found is not None
    assert places(found) == sorted(CARS + VANS)
    assert host.paths() == names[: find_rest.MOST_EXAMPLES // len(CARS)]


def test_without_any_example_nothing_begins() -> None:
    with pytest.raises(
        Refusal, match="no mask in the annotations of any task has 'Car' as its only label"
    ):
        across(bare(), task(mask(CARS[0], "Bike")))
