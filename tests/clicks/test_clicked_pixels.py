"""The pixels of a mask: each click is on its side, and no specks."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.clicks.segmenter import ObjectPrompt, segment
from sam_backend.engines.protocol import Embedding
from sam_backend.formats.mask import Mask
from tests.clicks.discs import IMAGE, disc, disc_mask, engine, nothing, prompt


def test_nothing_outside_a_box_unless_a_click_says_so() -> None:
    fake = engine([disc(256, 256, 120)] * 4)
    box = [200.4, 200.0, 300.0, 300.0]
    mask = segment(fake, IMAGE, prompt(box=box)).mask
    assert mask[200:300, 200:300].all()
    assert mask.sum() == 100 * 100
    wider = segment(fake, IMAGE, prompt((330, 256, True), box=box)).mask
    assert wider[256, 330]
    at_the_side = segment(fake, IMAGE, prompt((300, 256, True), box=box)).mask
    assert at_the_side[256, 300]


@pytest.mark.parametrize(("x", "y"), [(400, 256), (0, 0), (511, 511), (262, 340)])
def test_a_positive_click_is_inside_even_when_no_mask_holds_it(x: int, y: int) -> None:
    fake = engine([disc(256, 256, 80)] * 4)
    mask = segment(fake, IMAGE, prompt((256, 256, True), (x, y, True))).mask
    assert mask[y, x]
    assert mask[256, 256]


def test_a_negative_click_is_outside_even_when_all_masks_hold_it() -> None:
    fake = engine([disc(256, 256, 80)] * 4)
    mask = segment(fake, IMAGE, prompt((256, 256, True), (300, 256, False))).mask
    assert not mask[256, 300]
    assert mask[256, 256]
    assert mask.sum() > 0.7 * disc_mask(256, 256, 80).sum()


@pytest.mark.parametrize(("right", "down"), [(0, 180), (200, 0), (240, 236)])
def test_a_click_claims_the_same_spot_wherever_the_object_lies(right: int, down: int) -> None:
    def answer(x: int, y: int) -> Mask:
        fake = engine([disc(x, y, 60)] * 4)
        return segment(fake, IMAGE, prompt((x, y, True), (x + 40, y, False))).mask

    whole, here, there = disc_mask(90, 90, 60), answer(90, 90), answer(90 + right, 90 + down)
    assert here.sum() < whole.sum()
    np.testing.assert_array_equal(np.roll(here, (down, right), axis=(0, 1)), there)


def test_clicks_that_share_a_low_res_pixel_are_both_right() -> None:
    large = Embedding(IMAGE.features, height=2048, width=2048)
    fake = engine([disc(256, 256, 80)] * 4)
    clicks = (1024, 1024, True), (1100, 1100, False), (1104, 1101, True)
    mask = segment(fake, large, prompt(*clicks)).mask
    assert mask[1024, 1024]
    assert not mask[1100, 1100]
    assert mask[1101, 1104]


def test_specks_and_pinholes_go_but_not_what_was_clicked() -> None:
    mask = disc(256, 256, 100)
    mask[20:23, 20:23] = 8  # a speck
    mask[40:43, 200:203] = 8  # a small part of the object, clicked
    mask[128:130, 110:112] = -8  # a pinhole
    mask[60:78, 128] = 8  # a hair that is attached
    fake = engine([mask] * 4)
    answer = segment(fake, IMAGE, prompt((256, 256, True), (403, 83, True))).mask
    assert not answer[43, 43]
    assert answer[83, 403]
    assert answer[258, 222]
    assert answer[130, 257]


def test_a_disjoint_object_keeps_its_parts() -> None:
    both = np.maximum(disc(150, 256, 60), disc(380, 256, 40))
    mask = segment(engine([both] * 4), IMAGE, prompt((150, 256, True))).mask
    assert mask[256, 380]


@pytest.mark.parametrize(
    "asked",
    [
        prompt((256, 256, True)),
        prompt((256, 256, False)),
        prompt((-3, 700, True), (512, 512, False)),
        prompt(box=[10, 10, 10, 10]),
        prompt(box=[-20, -20, 900, 900]),
        prompt((5, 5, False), box=[0, 0, 512, 512]),
        prompt(),
    ],
)
@pytest.mark.parametrize("shape", [(512, 512), (1, 700), (333, 40)])
@pytest.mark.parametrize("full", [True, False])
def test_odd_prompts_and_empty_masks_get_an_answer(
    asked: ObjectPrompt, shape: tuple[int, int], full: bool
) -> None:
    masks = [-nothing() if full else nothing()] * 4
    embedding = Embedding(IMAGE.features, height=shape[0], width=shape[1])
    answer = segment(engine(masks), embedding, asked)
    assert answer.mask.shape == shape
    assert answer.mask.dtype == np.bool_
    assert 0 <= answer.score <= 1
