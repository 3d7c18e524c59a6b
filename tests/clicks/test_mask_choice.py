"""Which of an engine's four masks an object gets."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.clicks.learnt_shapes import Learnt, figures
from sam_backend.clicks.segmenter import segment
from sam_backend.engines.protocol import SAM, SAM_2, Facts
from tests.clicks.discs import IMAGE, FakeEngine, disc, disc_mask, engine, prompt
from tools.quality.mask_scores import iou


def test_first_click_prefers_the_mask_that_it_is_in_the_middle_of() -> None:
    whole, beside = disc(300, 300, 60), disc(240, 300, 130)
    answer = segment(engine([beside, whole, whole, beside]), IMAGE, prompt((300, 300, True)))
    assert iou(answer.mask, disc_mask(300, 300, 60)) > 0.9


def test_first_click_follows_the_model_when_all_masks_are_centred() -> None:
    small, large = disc(256, 256, 30), disc(256, 256, 150)
    fake = FakeEngine([(np.stack([small, small, large, large]), [0.2, 0.2, 0.9, 0.9])])
    answer = segment(fake, IMAGE, prompt((256, 256, True)))
    assert answer.mask[256, 380]
    assert answer.score == pytest.approx(0.9)


def test_a_click_near_the_edge_does_not_rule_a_mask_out() -> None:
    small, large = disc(256, 256, 60), disc(256, 256, 220)
    fake = FakeEngine([(np.stack([small, large, small, large]), [0.9, 0.7, 0.9, 0.7])])
    answer = segment(fake, IMAGE, prompt((305, 256, True)))
    assert iou(answer.mask, disc_mask(256, 256, 60)) > 0.9


def test_kept_masks_decide_between_masks_that_the_model_likes_alike() -> None:
    small, large = disc(256, 256, 40), disc(256, 256, 160)
    kept = figures(disc_mask(100, 100, 42))
    assert kept is not None
    fake = engine([large, small, large, small])
    without = segment(fake, IMAGE, prompt((256, 256, True)))
    learnt = segment(fake, IMAGE, prompt((256, 256, True)), learnt=Learnt.of([kept] * 5))
    assert without.mask[256, 380]
    assert not learnt.mask[256, 380]


def test_a_positive_second_click_gets_the_mask_that_explains_it() -> None:
    first, single, others = disc(200, 256, 60), disc(256, 256, 120), disc(120, 256, 100)
    fake = engine([first] * 4, [single, others, others, others])
    answer = segment(fake, IMAGE, prompt((200, 256, True), (340, 256, True)))
    assert iou(answer.mask, disc_mask(256, 256, 120)) > 0.95


def test_a_negative_second_click_averages_masks_that_are_alike() -> None:
    first, single = disc(256, 256, 200), disc(256, 256, 100)
    elsewhere = disc(60, 60, 40)
    fake = engine([first] * 4, [single, single, elsewhere, elsewhere])
    answer = segment(fake, IMAGE, prompt((256, 256, True), (420, 256, False)))
    assert iou(answer.mask, disc_mask(256, 256, 100)) > 0.95
    assert not answer.mask[60, 60]


def test_a_second_click_beside_a_good_answer_keeps_it() -> None:
    """A negative click where the answer does not spill: people do this to be safe."""
    good, elsewhere = disc(150, 256, 60), disc(420, 60, 40)
    with_more = np.maximum(good, disc(350, 256, 60))
    fake = engine([good] * 4, [with_more, good, elsewhere, elsewhere])
    answer = segment(fake, IMAGE, prompt((150, 256, True), (350, 256, False)))
    assert iou(answer.mask, disc_mask(150, 256, 60)) > 0.95


def test_a_rectangle_gets_the_mask_that_fills_it() -> None:
    small, large = disc(250, 250, 60), disc(250, 250, 150)
    fake = engine([small, small, small, large])
    for radius in (60, 150):
        sides = [250 - radius, 250 - radius, 250 + radius, 250 + radius]
        answer = segment(fake, IMAGE, prompt(box=[float(side) for side in sides]))
        assert iou(answer.mask, disc_mask(250, 250, radius)) > 0.9


def test_each_model_states_how_its_answers_are_meant() -> None:
    """The index of the single mask, the limit of the feedback, and the doubt in a rectangle."""
    small, large = disc(250, 250, 60), disc(250, 250, 150)
    own = Facts(single=2, whole=1, feedback_limit=5.0, box_doubt=0.0)
    fake = FakeEngine([(np.stack([small, large, large, small]), [0.9] * 4)], facts=own)
    answer = segment(fake, IMAGE, prompt(box=[0, 0, 512, 512]))
    assert answer.mask.sum() == pytest.approx((large > 0).sum() * 4, rel=0.05)
    segment(fake, IMAGE, prompt((250, 250, True), (260, 250, True)))
    assert fake.feedback[-1] is not None
    assert np.abs(fake.feedback[-1]).max() == 5.0
    assert (SAM.feedback_limit, SAM_2.feedback_limit) == (10.0, 32.0)
