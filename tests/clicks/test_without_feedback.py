"""Clicks on the masks of a model that takes neither negative points nor an earlier mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sam_backend.clicks.segmenter import DecodeState, ObjectPrompt, Segmentation, resume, segment
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import SAM, Embedding
from tests.fakes import DiscEngine

# Two pixels of the image for each one of low resolution. Discs have a radius of 20 pixels.
IMAGE = Embedding(np.zeros((1, 1, 1, 1), np.float32), height=512, width=512)


class PositiveEngine(DiscEngine):
    """Sees a disc at each positive point, and is never asked more."""

    facts = replace(SAM, refines=False)

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        assert mask_input is None
        assert (labels == 1).all()
        return super().decode(embedding, points, labels, box)


def answer(
    *clicks: tuple[int, int, bool], box: list[float] | None = None, on: DecodeState | None = None
) -> Segmentation:
    points = np.array([click[:2] for click in clicks], np.float32).reshape(-1, 2)
    labels = np.array([click[2] for click in clicks], np.float32)
    corners = None if box is None else np.array(box, np.float32)
    return segment(PositiveEngine(), IMAGE, ObjectPrompt(points, labels, corners), on)


def test_a_positive_click_adds_what_the_model_finds_with_all_of_them() -> None:
    mask = answer((100, 100, True), (130, 100, True)).mask
    assert mask[100, 85]
    assert mask[100, 145]


def test_a_negative_click_takes_away_what_the_model_finds_there() -> None:
    mask = answer((100, 100, True), (130, 100, True), (160, 100, False)).mask
    assert mask[100, 130]
    assert not mask[100, 144]
    assert mask[100, 85]


def test_a_negative_click_next_to_a_positive_one_takes_a_spot_away() -> None:
    """The model finds the same object at both, so its mask says nothing."""
    mask = answer((100, 100, True), (112, 100, False)).mask
    assert mask[100, 100]
    assert not mask[100, 112]
    assert mask[100, 85]


def test_what_a_negative_click_took_away_stays_away() -> None:
    """A mask with a negative click in it does not count later either."""
    clicks = (100, 100, True), (115, 100, False), (104, 100, True)
    mask = answer(*clicks).mask
    assert not mask[100, 115]
    assert mask[100, 100]


def test_a_negative_click_before_the_first_positive_one_finds_nothing() -> None:
    assert not answer((200, 200, False)).mask.any()
    mask = answer((200, 200, False), (100, 100, True)).mask
    assert mask[100, 85]
    assert not mask[200, 200]


def test_a_rectangle_and_then_a_click() -> None:
    mask = answer((110, 110, False), box=[50, 50, 120, 120]).mask
    assert mask[60, 60]
    assert not mask[110, 110]


@pytest.mark.parametrize(("positive", "place"), [(True, 300), (False, 100)])
def test_an_existing_mask_is_added_to_and_taken_from(positive: bool, place: int) -> None:
    logits = np.full((256, 256), -8, np.float32)
    logits[20:80, 20:80] = 8
    mask = answer((place, place, positive), on=resume(logits)).mask
    assert mask[place, place] == positive
    assert mask[50, 50]
    assert not mask[400, 400]


def test_an_existing_mask_stays_for_all_later_clicks() -> None:
    logits = np.full((256, 256), -8, np.float32)
    logits[20:80, 20:80] = 8
    mask = answer((300, 300, True), (330, 300, True), on=resume(logits)).mask
    assert mask[300, 285]
    assert mask[300, 345]
    assert mask[50, 50]
