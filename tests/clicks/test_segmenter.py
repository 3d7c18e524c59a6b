"""Real weights profit from the choice among masks, and from the answers to earlier clicks."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.clicks.segmenter import segment
from sam_backend.engines.onnx_engine import OnnxSam
from tests.clicks.discs import prompt
from tests.needs import PAIR, SHARED, need_weights
from tools.quality.click_protocol import INNERMOST
from tools.quality.measure import measure
from tools.quality.targets import drawn_targets, targets_in

EVAL = SHARED / "eval"


@pytest.fixture(scope="module")
def mobile_sam() -> OnnxSam:
    need_weights()
    return OnnxSam(*PAIR, "mobile_sam")


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
