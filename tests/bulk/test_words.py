"""`segment_everything --text`: only what phrases name, in the pictures of many tasks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sam_backend.bulk.answers import answer_tasks, planned
from sam_backend.bulk.named import Named
from sam_backend.clicks import phrases
from sam_backend.clicks.phrases import Phrase
from sam_backend.errors import Refusal
from sam_backend.services import Services
from sam_backend.shared.text_search import TextSearch
from tests.bulk.desk import Desk, drawn
from tests.e2e.pictures import Shape
from tests.engines import text_models
from tests.fakes import BRUSH_LABELS, inline, picture
from tests.needs import need
from tests.server.test_words import Detector

WORK = Named((Phrase("car"), Phrase("tree", "Bike")))


@pytest.fixture
def finding(services: Callable[..., Services]) -> Services:
    """Services whose text model knows cars and trees."""
    made = services()
    made.masks = replace(made.masks, text=TextSearch(Detector))
    return made


def test_each_phrase_gets_its_label_and_a_second_run_has_nothing_to_do(finding: Services) -> None:
    task = {"id": 1, "data": {"image": inline(picture())}}
    [answer] = answer_tasks(finding, "", BRUSH_LABELS, [(task, WORK)])
    assert answer is not None
    assert answer.failures == ()
    labels = [region["value"]["brushlabels"] for region in answer.regions]
    assert labels == [["Car"], ["Car"], ["Bike"]]

    again = {**task, "predictions": [answer.prediction(finding.model_version)]}
    assert answer_tasks(finding, "", BRUSH_LABELS, [(again, WORK)])[0] == type(answer)([])
    assert planned(BRUSH_LABELS, again, WORK, finding.model_version).regions == []
    assert len(planned(BRUSH_LABELS, task, WORK, finding.model_version).regions) == 1


def test_a_picture_without_the_object_gets_no_prediction(finding: Services) -> None:
    task = {"id": 1, "data": {"image": inline(picture())}}
    [answer] = answer_tasks(finding, "", BRUSH_LABELS, [(task, Named((Phrase("boat"),)))])
    assert answer is not None
    assert answer.prediction("v") is None


def test_labels_come_from_the_text_or_from_the_map() -> None:
    assert phrases.mapped("car; person = Worker\n truck", ["car=Vehicle"]) == [
        Phrase("car", "Vehicle"),
        Phrase("person", "Worker"),
        Phrase("truck", None),
    ]


@pytest.mark.parametrize(
    ("text", "mapped", "complaint"),
    [
        (" ; ", [], "--text ' ; ' names nothing"),
        ("car", ["car"], "--map 'car' is not like 'car=Vehicle'"),
        ("car", ["van=Vehicle"], "--map 'van' is no phrase of --text 'car'"),
    ],
)
def test_a_wrong_text_or_map_is_refused(text: str, mapped: list[str], complaint: str) -> None:
    with pytest.raises(Refusal, match=complaint):
        phrases.mapped(text, mapped)


def test_the_command_needs_a_text_model(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write([{"data": {"image": drawn([Shape.DISC], tmp_path)}}])
    status, _, complained = desk.run("segment_everything", "--text", "disc")
    assert (status, complained.strip()) == (
        2,
        "segment_everything: --text needs SAM_TEXT_MODEL, see docs/models.md",
    )


def test_the_command_runs_a_saved_model(tmp_path: Path) -> None:
    need("torch", "transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = text_models.save("grounding-dino", tmp_path / "dino")
    desk = Desk(tmp_path, SAM_TEXT_MODEL=str(folder))
    desk.write([{"data": {"image": drawn([Shape.DISC], tmp_path)}}])
    options = "--text", "red disc; car", "--map", "red disc=Bike"
    status, said, complained = desk.run("segment_everything", *options)
    assert status == 0, complained
    assert said.startswith("1 tasks: 1 with masks; ")
    [prediction] = desk.written()[0]["predictions"]
    labels = {region["value"]["brushlabels"][0] for region in prediction["result"]}
    assert labels == {"Bike", "Car"}
