"""Answers that another worker gave, or this one before a restart."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam_backend.clicks.objects import Objects
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.clicks.segmenter import DecodeState, ObjectPrompt, Segmentation, restored
from sam_backend.engines.frame import LOW_RES_SIDE
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.shared.kept_answers import (
    _HEAD,
    _SLOT,
    FILE,
    MOST_BYTES,
    MOST_POINTS,
    KeptAnswers,
)
from tests.clicks.test_masks import scene
from tools.quality.engines import Counted

TARGET = Target("image", None, ("Car",), 640, 480, 0.0)
CLICKS = [
    Prompt("a", 100 * 180 / 640, 100 * 200 / 480),
    Prompt("b", 100 * 230 / 640, 100 * 200 / 480),
    Prompt("c", 100 * 100 / 640, 100 * 60 / 480, is_positive=False),
]
BOX = Prompt("box", 15, 20, width=30, height=40, is_rectangle=True)


class Fingerprinted(Counted):
    """An engine that says which weights it has."""

    def __init__(self, engine: Engine, fingerprint: str | None) -> None:
        super().__init__(engine)
        self.fingerprint = fingerprint


class Worker:
    """A process that serves clicks in one image."""

    def __init__(
        self,
        engine: Engine,
        embedding: Embedding,
        folder: Path | None,
        fingerprint: str | None = "weights",
    ) -> None:
        self.engine, self._embedding = Fingerprinted(engine, fingerprint), embedding
        self._objects = Objects(None if folder is None else KeptAnswers(folder))

    def answer(self, *group: Prompt) -> Segmentation:
        sent = {prompt.id for prompt in group}
        arguments = self.engine, self._embedding, {"id": 1}, TARGET, group, sent
        [(_, segmentation)] = self._objects.segment(*arguments)
        return segmentation


@pytest.fixture(scope="module")
def embedding(engine: Engine) -> Embedding:
    return engine.encode(scene()[0])


def state(points: int = 1) -> DecodeState:
    places = np.arange(2 * points, dtype=np.float32).reshape(-1, 2)
    logits = np.full((LOW_RES_SIDE, LOW_RES_SIDE), 1.25, np.float32)
    return restored(ObjectPrompt(places, np.ones(points, np.float32), None), logits, 0.5)


@pytest.mark.parametrize("start", [[], [BOX]], ids=["clicks", "a rectangle"])
def test_another_worker_continues_with_one_decode_and_the_same_mask(
    engine: Engine, embedding: Embedding, tmp_path: Path, start: list[Prompt]
) -> None:
    one, other = Worker(engine, embedding, tmp_path), Worker(engine, embedding, tmp_path)
    alone = Worker(engine, embedding, None)
    for count in range(1, len(CLICKS)):
        one.answer(*start, *CLICKS[:count])
    continued = other.answer(*start, *CLICKS)
    assert other.engine.decodes == 1
    expected = alone.answer(*start, *CLICKS)
    assert np.array_equal(continued.mask, expected.mask)
    assert continued.score == expected.score


def test_a_worker_that_missed_a_click_takes_it_from_the_others(
    engine: Engine, embedding: Embedding, tmp_path: Path
) -> None:
    one, other = Worker(engine, embedding, tmp_path), Worker(engine, embedding, tmp_path)
    one.answer(CLICKS[0])
    other.answer(*CLICKS[:2])
    assert other.engine.decodes == 1
    one.answer(*CLICKS)
    assert one.engine.decodes == 2


def test_a_single_click_keeps_its_alternatives(
    engine: Engine, embedding: Embedding, tmp_path: Path
) -> None:
    Worker(engine, embedding, tmp_path).answer(CLICKS[0])
    assert len(Worker(engine, embedding, tmp_path).answer(CLICKS[0]).state.candidates)


@pytest.mark.parametrize(("first", "then"), [("weights", "others"), (None, None)])
def test_an_answer_of_another_model_is_not_continued(
    engine: Engine, embedding: Embedding, tmp_path: Path, first: str | None, then: str | None
) -> None:
    Worker(engine, embedding, tmp_path, first).answer(*CLICKS[:2])
    other = Worker(engine, embedding, tmp_path, then)
    other.answer(*CLICKS)
    assert other.engine.decodes == len(CLICKS)


def test_an_answer_comes_back_for_its_key_only(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path)
    kept.put([b"image", None], state())
    found = KeptAnswers(tmp_path).get([b"image", None])
    assert found is not None
    assert np.array_equal(found.logits, state().logits)
    assert found.prompt.extends(state().prompt)
    assert kept.get([b"image", b"a mask below"]) is None


def test_an_answer_on_an_existing_mask_comes_back_as_one(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path)
    for resumed in (False, True):
        kept.put(["key"], replace(state(), resumed=resumed))
        found = kept.get(["key"])
        assert found is not None
        assert (found.resumed, found.prompt.box) == (resumed, None)


def test_a_damaged_answer_is_a_miss(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path)
    kept.put(["key"], state())
    content = bytearray((tmp_path / FILE).read_bytes())
    content[-1] ^= 1
    (tmp_path / FILE).write_bytes(content)
    assert kept.get(["key"]) is None
    kept.put(["key"], state())
    assert kept.get(["key"]) is not None


@pytest.mark.parametrize(
    ("place", "number"), [(0, np.nan), (0, -1), (0, 65), (0, 1e9), (2, np.inf), (-1, np.nan)]
)
def test_an_answer_of_another_program_is_a_miss(tmp_path: Path, place: int, number: float) -> None:
    """Its checksum is right, and its numbers are not."""
    kept = KeptAnswers(tmp_path)
    kept.put(["key"], state())
    content = bytearray((tmp_path / FILE).read_bytes())
    start = len(content) - _SLOT
    numbers = np.frombuffer(content[start + _HEAD.size :], np.float32).copy()
    numbers[place] = number
    content[start + _HEAD.size :] = numbers.tobytes()
    content[start : start + 4] = zlib.crc32(content[start + 4 :]).to_bytes(4, "little")
    (tmp_path / FILE).write_bytes(content)
    assert kept.get(["key"]) is None


def test_the_file_is_bounded(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path)
    for number in range(600):
        kept.put([number], state())
    assert (tmp_path / FILE).stat().st_size <= MOST_BYTES
    assert kept.get([599]) is not None
    kept.put(["large"], state(MOST_POINTS + 1))
    assert kept.get(["large"]) is None


def test_a_file_that_cannot_be_used_costs_no_mask(
    engine: Engine, embedding: Embedding, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    worker = Worker(engine, embedding, tmp_path / "cache")
    assert worker.answer(*CLICKS).mask.any()
