"""The strategy: what it does with an engine's answers, and that real weights profit from it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from sam_backend.clicks.learnt_shapes import Learnt, figures
from sam_backend.clicks.segmenter import CLICKS_AT_ONCE, ObjectPrompt, Segmentation, segment
from sam_backend.engines.frame import Floats
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.protocol import SAM, SAM_2, Embedding, Facts
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels
from tools.quality.click_protocol import INNERMOST, Click
from tools.quality.mask_scores import iou
from tools.quality.measure import measure
from tools.quality.rules import as_prompt
from tools.quality.targets import drawn_targets, targets_in

REPOSITORY = Path(__file__).parents[2]
WEIGHTS = REPOSITORY / "models" / "mobile_sam"
EVAL = Path(os.environ.get("SHARED_DIR", REPOSITORY.parent / "shared")) / "eval"

IMAGE = Embedding(np.zeros((1, 1, 1, 1), np.float32), height=512, width=512)


def disc(x: float, y: float, radius: float) -> Floats:
    """Low-res logits: 8 inside a disc given in image pixels, -8 outside."""
    rows, columns = np.indices((256, 256)) * 2 + 1
    inside = np.hypot(columns - x, rows - y) <= radius
    return np.where(inside, 8, -8).astype(np.float32)


def nothing() -> Floats:
    return np.full((256, 256), -8, np.float32)


@dataclass
class FakeEngine:
    """Answers with the masks it was given, one set a decode, the last set again and again."""

    answers: list[tuple[Floats, list[float]]]
    name: str = "fake"
    facts: Facts = SAM
    feedback: list[Floats | None] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)

    def encode(self, image: Pixels) -> Embedding:
        raise AssertionError("a segmenter never encodes")

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        # By the number of clicks, as a real engine answers the same question the same way.
        logits, scores = self.answers[min(max(len(points) - 1, 0), len(self.answers) - 1)]
        self.feedback.append(mask_input)
        self.prompts.append(len(points))
        return logits, np.array(scores, np.float32)


def engine(*answers: list[Floats]) -> FakeEngine:
    return FakeEngine([(np.stack(masks), [0.9] * 4) for masks in answers])


def prompt(*clicks: tuple[int, int, bool], box: list[float] | None = None) -> ObjectPrompt:
    placed = [Click(x, y, positive) for x, y, positive in clicks]
    return as_prompt(placed, None if box is None else np.array(box, np.float32))


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


def test_a_rectangle_gets_the_mask_that_fills_it() -> None:
    small, large = disc(250, 250, 60), disc(250, 250, 150)
    fake = engine([small, small, small, large])
    for radius in (60, 150):
        sides = [250 - radius, 250 - radius, 250 + radius, 250 + radius]
        answer = segment(fake, IMAGE, prompt(box=[float(side) for side in sides]))
        assert iou(answer.mask, disc_mask(250, 250, radius)) > 0.9


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


def test_state_offers_what_the_last_decode_did() -> None:
    masks = [disc(256, 256, 20 * (token + 1)) for token in range(4)]
    state = segment(engine(masks), IMAGE, prompt((256, 256, True))).state
    assert state.candidates.shape == (4, 256, 256)
    assert state.candidate_scores.shape == (4,)
    assert state.nbytes > state.candidates.nbytes


def disc_mask(x: float, y: float, radius: float) -> Mask:
    rows, columns = np.indices((512, 512))
    inside: Mask = np.hypot(columns - x, rows - y) <= radius
    return inside


@pytest.fixture(scope="module")
def mobile_sam() -> OnnxSam:
    encoder, decoder = WEIGHTS / "encoder.onnx", WEIGHTS / "decoder.onnx"
    if not (encoder.exists() and decoder.exists()):
        pytest.skip(f"{WEIGHTS} holds no weights: ./download_models.sh fetches them")
    return OnnxSam(encoder, decoder, "mobile_sam")


def test_real_weights_replay_to_the_same_mask(mobile_sam: OnnxSam) -> None:
    target = next(drawn_targets(1))
    embedding = mobile_sam.encode(target.image)
    ys, xs = np.nonzero(target.truth)
    clicks = [(int(xs.mean()), int(ys.mean()), True), (5, 5, False), (int(xs[0]), int(ys[0]), True)]
    state = None
    for count in (1, 2, 3):
        answer = segment(mobile_sam, embedding, prompt(*clicks[:count]), state)
        state = answer.state
    assert np.array_equal(answer.mask, segment(mobile_sam, embedding, prompt(*clicks)).mask)


def test_real_weights_find_drawn_objects(mobile_sam: OnnxSam) -> None:
    pairs = measure(mobile_sam, drawn_targets(1), None, habits=[INNERMOST])["innermost"]
    assert np.mean([pair.ours["IoU@3"] for pair in pairs]) > 0.9


def test_real_weights_keep_their_lead_on_real_objects(mobile_sam: OnnxSam) -> None:
    if not (EVAL / "index.json").exists():
        pytest.skip(f"{EVAL} is not there: it is not part of the repository")
    measured = measure(mobile_sam, targets_in(EVAL, 6), None, habits=[INNERMOST])

    def lead(habit: str, figure: str) -> float:
        return float(np.mean([pair.ours[figure] - pair.peer[figure] for pair in measured[habit]]))

    assert np.mean([pair.ours["IoU@5"] for pair in measured["innermost"]]) > 0.75
    assert lead("innermost", "IoU@5") > 0.03
    assert lead("innermost", "NoC@85") < -0.3
    assert lead("rectangles", "box") > 0


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
