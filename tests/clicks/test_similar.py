"""Finding the rest of a kind by example, with the real model on drawn pictures."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from sam_backend.clicks import similar
from sam_backend.clicks.everything import Proposal
from sam_backend.engines.frame import LOW_RES_SIDE, Floats, Frame
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels
from tests.fakes import DiscEngine
from tools.quality.engines import Counted

HEIGHT, WIDTH = 426, 640
DISCS = [(80, 80), (220, 100), (360, 70), (520, 110), (100, 250), (250, 300), (400, 260)]
PLATES = [(540, 300), (120, 370)]


@cache
def scene() -> Pixels:
    """Red discs and blue plates on grain, (HEIGHT, WIDTH, 3)."""
    grain = np.random.default_rng(7).integers(95, 150, (HEIGHT, WIDTH, 1), np.uint8)
    image = np.ascontiguousarray(grain.repeat(3, axis=2))
    for x, y in DISCS:
        cv2.circle(image, (x, y), 35, (196, 38, 46), -1)
    for x, y in PLATES:
        cv2.rectangle(image, (x - 50, y - 30), (x + 50, y + 30), (29, 79, 168), -1)
    return image


@pytest.fixture(scope="module")
def embedding(engine: Engine) -> Embedding:
    return engine.encode(scene())


def disc(number: int) -> Mask:
    """A disc in the low-res frame (1, 256, 256)."""
    big = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), DISCS[number], 35, 1, -1) > 0
    return low_res(big)[None]


def low_res(mask: Mask) -> Mask:
    rows, columns = Frame(*mask.shape).middles()
    square = np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), bool)
    square[: len(rows), : len(columns)] = mask[np.ix_(rows, columns)]
    return square


def hits(found: list[Proposal]) -> list[int]:
    """The discs that are found, by number; -1 for anything else."""
    numbers = []
    for proposal in found:
        inside = [n for n, (x, y) in enumerate(DISCS) if proposal.mask[y, x]]
        right = len(inside) == 1 and proposal.mask.sum() < 1.3 * np.pi * 35**2
        numbers.append(inside[0] if right else -1)
    return numbers


class Kin(DiscEngine):
    """Sees three discs in a row. The middle one is much like both others, which are not alike."""

    PLACES = (50, 128, 206)
    LOOKS: tuple[tuple[int, ...], ...] = ((1, 0, 0), (1, 1, 0), (0, 1, 0))

    def encode(self, image: Pixels) -> Embedding:
        features = np.zeros((1, len(self.LOOKS[0]), 64, 64), np.float32)
        rows, columns = (np.mgrid[:64, :64] + 0.5) * 4
        for x, looks in zip(self.PLACES, self.LOOKS, strict=True):
            features[0, :, np.hypot(columns - x, rows - 128) < 20] = looks
        return Embedding(features, 256, 256)

    def mask(self, x: float) -> Mask:
        rows, columns = np.mgrid[:256, :256]
        return np.asarray(np.hypot(columns - x, rows - 128) < 20)

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        nearest = min(self.PLACES, key=lambda x: abs(x - points[0, 0]))
        logits = np.where(self.mask(nearest), np.float32(8), np.float32(-8))
        return logits[None].repeat(4, axis=0), np.full(4, 0.9, np.float32)


class Bands(Kin):
    """Sees three discs that look the same, each in a band of the picture with looks of its own."""

    LOOKS = ((1, 0, 0, 0),) * 3

    def __init__(self, *bands: tuple[int, int, int, int]) -> None:
        self.bands = bands

    def encode(self, image: Pixels) -> Embedding:
        columns = (np.mgrid[:64, :64][1] + 0.5) * 4
        features = np.zeros((1, 4, 64, 64), np.float32)
        for x, looks in zip(self.PLACES, self.bands, strict=True):
            features[0, :, np.abs(columns - x) < 39] = looks
        discs = super().encode(image).features
        inside = discs.any(axis=1, keepdims=True)
        return Embedding(np.where(inside, discs, features), 256, 256)


def plate(number: int) -> Mask:
    """A plate in the low-res frame (1, 256, 256)."""
    x, y = PLATES[number]
    big = np.zeros((HEIGHT, WIDTH), bool)
    big[y - 30 : y + 30, x - 50 : x + 50] = True
    return low_res(big)[None]


def test_one_example_finds_the_others_before_anything_else(
    engine: Engine, embedding: Embedding
) -> None:
    found = list(similar.rest(engine, embedding, disc(0)))
    assert sorted(hits(found)[:6]) == [1, 2, 3, 4, 5, 6]


def test_a_counter_example_removes_what_is_more_like_it(
    engine: Engine, embedding: Embedding
) -> None:
    found = list(similar.rest(engine, embedding, disc(0), counter_examples=plate(0)))
    assert sorted(hits(found)) == [1, 2, 3, 4, 5, 6]


def test_the_most_alike_comes_first_and_likeness_is_the_score(
    engine: Engine, embedding: Embedding
) -> None:
    scores = [proposal.score for proposal in similar.rest(engine, embedding, disc(0))]
    assert scores == sorted(scores, reverse=True)
    assert all(similar.LEAST <= score <= 1 for score in scores)


def test_what_is_there_already_is_left_out(engine: Engine, embedding: Embedding) -> None:
    taken = np.concatenate([disc(2), disc(5)])
    found = list(similar.rest(engine, embedding, disc(0), plate(0), taken))
    assert sorted(hits(found)) == [1, 3, 4, 6]


def test_what_is_as_like_a_counter_example_is_left_out(
    engine: Engine, embedding: Embedding
) -> None:
    found = list(similar.rest(engine, embedding, disc(0), counter_examples=disc(0)))
    assert found == []


def test_a_sure_object_is_an_example_for_the_second_half_of_the_search() -> None:
    engine = Kin()
    picture = engine.encode(np.zeros((256, 256, 3), np.uint8))
    example = engine.mask(Kin.PLACES[0])[None]
    found = list(similar.rest(engine, picture, example))
    assert [[each.mask[128, x] for x in Kin.PLACES] for each in found] == [
        [False, True, False],
        [False, False, True],
    ]
    other = engine.mask(Kin.PLACES[1])[None]
    found = list(similar.rest(engine, picture, example, counter_examples=other))
    assert found == []


def test_what_stands_out_in_another_way_each_time_is_no_kind() -> None:
    road = (0, 1, 0, 0)
    street, scene = Bands(road, road, road), Bands(road, (0, 0, 1, 0), (0, 0, 0, 1))
    numbers = []
    for engine in (street, scene):
        picture = engine.encode(np.zeros((256, 256, 3), np.uint8))
        example = engine.mask(Kin.PLACES[0])[None]
        numbers.append(len(list(similar.rest(engine, picture, example))))
    assert numbers == [2, 0]


def test_decodes_have_a_bound(engine: Engine, embedding: Embedding) -> None:
    counting = Counted(engine)
    list(similar.rest(counting, embedding, disc(0)))
    assert counting.decodes <= similar.MOST_DECODES
    counting = Counted(engine)
    assert len(list(similar.rest(counting, embedding, disc(0), most=3))) <= 3
    assert counting.decodes == 3


def test_an_empty_example_finds_nothing(engine: Engine, embedding: Embedding) -> None:
    empty = np.zeros((1, LOW_RES_SIDE, LOW_RES_SIDE), bool)
    assert list(similar.rest(engine, embedding, empty)) == []


def test_an_example_that_does_not_stand_out_finds_nothing(engine: Engine) -> None:
    grain = np.random.default_rng(7).integers(95, 150, (HEIGHT, WIDTH, 3), np.uint8)
    assert list(similar.rest(engine, engine.encode(grain), disc(0))) == []
