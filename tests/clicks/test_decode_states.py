"""Each click is decoded on top of the last answer, and a kept answer saves decodes."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.clicks.later_clicks import CLICKS_AT_ONCE
from sam_backend.clicks.segmenter import ObjectPrompt, Segmentation, segment
from tests.clicks.discs import IMAGE, disc, engine, prompt


def test_each_click_is_decoded_on_top_of_the_last_answer() -> None:
    fake = engine([disc(256, 256, 80)] * 4)
    segment(fake, IMAGE, prompt((256, 256, True), (300, 256, True), (20, 20, False)))
    assert fake.prompts == [1, 2, 3]
    assert fake.feedback[0] is None
    assert fake.feedback[1] is not None
    assert (fake.feedback[1] > 0).any()


def test_a_decode_is_told_no_more_than_the_newest_clicks() -> None:
    fake = engine([disc(256, 256, 80)] * 4)
    clicks = [(256 + n, 256, True) for n in range(60)]
    mask = segment(fake, IMAGE, prompt(*clicks, (200, 256, False))).mask
    assert max(fake.prompts) == CLICKS_AT_ONCE
    assert len(fake.prompts) == 61, "one for each click, as if they had come one by one"
    assert all(mask[y, x] for x, y, _ in clicks), "the older ones keep their side"
    assert not mask[256, 200]


def test_a_state_saves_decodes_and_changes_nothing() -> None:
    masks = [
        [disc(256, 256, 40 + 20 * step + 5 * token) for token in range(4)] for step in range(3)
    ]
    clicks = [(256, 256, True), (310, 256, True), (200, 190, False)]
    replayed = segment(engine(*masks), IMAGE, prompt(*clicks))
    fake = engine(*masks)
    answer: Segmentation | None = None
    for count in (1, 2, 3):
        state = None if answer is None else answer.state
        answer = segment(fake, IMAGE, prompt(*clicks[:count]), state)
    assert answer is not None
    assert fake.prompts == [1, 2, 3]
    assert np.array_equal(answer.mask, replayed.mask)
    assert answer.score == replayed.score
    assert segment(fake, IMAGE, prompt(*clicks), answer.state).mask.tolist() == answer.mask.tolist()
    assert fake.prompts == [1, 2, 3], "the same prompt again costs nothing"


@pytest.mark.parametrize(
    "other",
    [
        prompt((100, 256, True)),
        prompt((256, 256, False)),
        prompt((256, 256, True), box=[100, 100, 400, 400]),
        prompt(box=[100, 100, 400, 400]),
    ],
)
def test_a_state_of_another_prompt_is_ignored(other: ObjectPrompt) -> None:
    masks = [[disc(256, 256, 80)] * 4, [disc(256, 256, 120)] * 4]
    earlier = segment(engine(*masks), IMAGE, prompt((256, 256, True), (300, 256, True)))
    with_state = segment(engine(*masks), IMAGE, other, earlier.state)
    assert np.array_equal(with_state.mask, segment(engine(*masks), IMAGE, other).mask)


def test_a_box_and_then_a_click_is_the_same_at_once() -> None:
    masks = [[disc(256, 256, 80)] * 4]
    box = [150.0, 150.0, 360.0, 360.0]
    first = segment(engine(*masks), IMAGE, prompt(box=box))
    then = segment(engine(*masks), IMAGE, prompt((200, 250, False), box=box), first.state)
    at_once = segment(engine(*masks), IMAGE, prompt((200, 250, False), box=box))
    assert np.array_equal(then.mask, at_once.mask)


def test_state_offers_what_the_last_decode_did() -> None:
    masks = [disc(256, 256, 20 * (token + 1)) for token in range(4)]
    state = segment(engine(masks), IMAGE, prompt((256, 256, True))).state
    assert state.candidates.shape == (4, 256, 256)
    assert state.candidate_scores.shape == (4,)
    assert state.nbytes > state.candidates.nbytes
