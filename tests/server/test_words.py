"""A smart `<TextArea>`: its phrases are answered with the masks of what they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from sam_backend.engines.text_protocol import Finding
from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared.text_search import TextSearch
from tests.clicks.saved_masks import brush, draft
from tests.fakes import keypoint
from tests.server.clicks import click, errors, mask_of

LABELS = '<Label value="Car"/><Label value="Bike" alias="Two wheels"/>'
CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="tag" toName="image">{LABELS}</BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true">{LABELS}</KeyPointLabels>
  <TextArea name="words" toName="image" smart="true"/>
  <TextArea name="notes" toName="image"/>
</View>"""
BOXES = {"car": [(40, 30, 120, 90), (200, 30, 280, 90)], "tree": [(40, 150, 120, 210)]}


class Detector:
    """Knows cars and trees. Counts its runs."""

    runs = 0

    def find(self, image: Pixels, phrase: str) -> list[Finding]:
        self.runs += 1
        assert image.shape == (300, 400, 3)
        boxes = BOXES.get(phrase.lower(), [])
        return [Finding(np.array(box, np.float32), 0.9 - n / 10) for n, box in enumerate(boxes)]


@pytest.fixture
def detector() -> Detector:
    return Detector()


@pytest.fixture
def client(services: Callable[..., Services], detector: Detector) -> FlaskClient:
    made = services()
    made.masks = replace(made.masks, text=TextSearch(lambda: detector))
    return create_app(made.settings, made).test_client()


def text(*lines: str, control: str = "words") -> dict[str, Any]:
    """The only result of a text in the editor, with all lines that were entered."""
    place = {"from_name": control, "to_name": "image", "type": "textarea", "origin": "manual"}
    return {"id": "t", "value": {"text": list(lines)}, **place}


def find(client: FlaskClient, *context: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = click(client, *context, config=CONFIG, **more)["result"]
    return result


def test_a_phrase_with_the_name_of_a_label_finds_all_objects_of_that_label(
    client: FlaskClient,
) -> None:
    found = find(client, text("car"))
    assert [result["value"]["brushlabels"] for result in found] == [["Car"], ["Car"]]
    assert [result["score"] for result in found] == [0.9, 0.8]
    for result, (left, top, right, bottom) in zip(found, BOXES["car"], strict=True):
        mask = mask_of(result)
        assert mask[(top + bottom) // 2, (left + right) // 2]
        assert not mask[250, 350]


def test_several_phrases_and_lines_are_answered_together(client: FlaskClient) -> None:
    found = find(client, text("car; tree=Two wheels", "CAR"))
    labels = [result["value"]["brushlabels"] for result in found]
    assert labels == [["Car"], ["Car"], ["Two wheels"]]


def test_objects_without_a_label_of_that_name_wait_for_one(client: FlaskClient) -> None:
    [found] = find(client, text("tree"))
    assert found["value"]["brushlabels"] == []
    assert mask_of(found).any()


def test_a_label_that_is_missing_is_named(client: FlaskClient) -> None:
    assert find(client, text("tree=Plant")) == []
    assert "'Plant'" in errors(client)[0]
    assert "Car" in errors(client)[0]


def test_the_same_phrase_again_names_the_same_regions_and_asks_the_model_once(
    client: FlaskClient, detector: Detector
) -> None:
    ids = [[result["id"] for result in find(client, text("car"))] for _ in range(2)]
    assert ids[0] == ids[1]
    assert detector.runs == 1


def test_objects_that_have_a_mask_with_the_label_are_left_out(client: FlaskClient) -> None:
    left, top, right, bottom = BOXES["car"][0]
    there = np.zeros((300, 400), bool)
    there[top:bottom, left:right] = True
    accepted = draft(brush("old", there))
    [found] = find(client, text("car"), drafts=accepted)
    assert mask_of(found)[60, 240]


def test_nothing_found_is_said_with_what_to_do(client: FlaskClient) -> None:
    assert find(client, text("unicorn")) == []
    assert "called 'unicorn': use other words, or click the object" in errors(client)[0]


def test_other_texts_are_no_phrases(client: FlaskClient, detector: Detector) -> None:
    assert find(client, text("car", control="notes")) == []
    assert detector.runs == 0


def test_a_click_beside_a_text_is_a_click(client: FlaskClient, detector: Detector) -> None:
    [found] = find(client, keypoint("k", 50, 50), text("car"))
    assert found["id"] == "m-k"
    assert detector.runs == 0


@pytest.mark.parametrize("value", [None, {}, {"text": 5}, {"text": [None, [], {}]}, {"text": "  "}])
def test_a_malformed_text_harms_nothing(client: FlaskClient, value: Any) -> None:
    find(client, {**text(), "value": value})
    assert len(find(client, text("car"))) == 2


def test_too_many_phrases_are_refused(client: FlaskClient, detector: Detector) -> None:
    assert find(client, text("; ".join(f"thing {n}" for n in range(100)))) == []
    assert "over 20 phrases at once" in errors(client)[0]
    assert detector.runs == 0


def test_without_a_text_model_the_status_page_says_which_setting_to_set(
    services: Callable[..., Services],
) -> None:
    made = services()
    client = create_app(made.settings, made).test_client()
    assert find(client, text("car")) == []
    assert "set SAM_TEXT_MODEL to a folder or to a name" in errors(client)[0]


def test_a_model_that_cannot_be_loaded_is_one_line(services: Callable[..., Services]) -> None:
    def broken() -> Detector:
        raise SettingsError("SAM_TEXT_MODEL='a/b' cannot be loaded: it is cut short")

    made = services()
    made.masks = replace(made.masks, text=TextSearch(broken))
    client = create_app(made.settings, made).test_client()
    assert find(client, text("car")) == []
    assert errors(client)[0] == "SAM_TEXT_MODEL='a/b' cannot be loaded: it is cut short"
