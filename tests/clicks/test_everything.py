"""Everything in a picture: which points are asked, and which masks are kept."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.clicks import everything
from sam_backend.clicks.everything import Proposal
from sam_backend.engines.frame import LOW_RES_SIDE, Floats
from sam_backend.engines.protocol import Embedding
from sam_backend.formats.pictures import Pixels
from tests.fakes import DiscEngine

PICTURE = np.zeros((300, 400, 3), np.uint8)


class Blocks(DiscEngine):
    """Sees blocks of low-res pixels (x0, y0, x1, y1), each at every point in it."""

    def __init__(self, *blocks: tuple[int, int, int, int], score: float = 0.9) -> None:
        self.blocks, self.score = blocks, score
        self.asked: list[tuple[float, float]] = []
        self.sharpness = 8.0

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        x, y = points[0] * LOW_RES_SIDE / max(embedding.height, embedding.width)
        self.asked.append((float(x), float(y)))
        logits = np.full((4, LOW_RES_SIDE, LOW_RES_SIDE), -self.sharpness, np.float32)
        for x0, y0, x1, y1 in self.blocks:
            if x0 <= x < x1 and y0 <= y < y1:
                logits[:, y0:y1, x0:x1] = self.sharpness
        return logits, np.full(4, self.score, np.float32)


def propose(engine: DiscEngine, picture: Pixels = PICTURE, **how: object) -> list[Proposal]:
    embedding = engine.encode(picture)
    return list(
        everything.proposals(engine, embedding, pixels=lambda: picture, **how)  # type: ignore[arg-type]
    )


def test_each_object_is_proposed_once_at_the_pictures_size() -> None:
    found = propose(Blocks((10, 10, 60, 60), (100, 50, 180, 150)), grid=8)
    assert len(found) == 2
    assert {proposal.mask.shape for proposal in found} == {(300, 400)}
    small = min(found, key=lambda proposal: proposal.mask.sum())
    rows, columns = np.nonzero(small.mask)
    scale = 400 / 256
    assert (columns.min(), rows.min()) == pytest.approx((10 * scale, 10 * scale), abs=1)
    assert (columns.max(), rows.max()) == pytest.approx((60 * scale, 60 * scale), abs=2)


def test_points_in_a_small_mask_that_is_kept_are_not_asked_again() -> None:
    engine = Blocks((10, 10, 40, 40))
    propose(engine, grid=32)
    inside = [(x, y) for x, y in engine.asked if 10 <= x < 40 and 10 <= y < 40]
    assert len(inside) == 1
    assert len(engine.asked) > 900


def test_parts_of_a_large_mask_are_looked_for() -> None:
    class House(Blocks):
        """A window in it."""

        def decode(self, *arguments: Floats, **more: Floats) -> tuple[Floats, Floats]:  # type: ignore[override]
            logits, scores = super().decode(*arguments, **more)  # type: ignore[arg-type]
            x, y = self.asked[-1]
            if 50 <= x < 75 and 50 <= y < 75:
                logits[1] = -8
                logits[1, 50:75, 50:75] = 8
            return logits, scores

    sizes = sorted(int(p.mask.sum()) for p in propose(House((0, 0, 250, 150)), grid=32))
    assert len(sizes) == 2
    assert sizes[0] < sizes[1] / 20


@pytest.mark.parametrize("level", ["whole", "part", "subpart"])
def test_a_level_is_one_of_the_masks_at_a_point(level: everything.Level) -> None:
    class Nested(Blocks):
        def decode(self, *arguments: Floats, **more: Floats) -> tuple[Floats, Floats]:  # type: ignore[override]
            super().decode(*arguments, **more)  # type: ignore[arg-type]
            logits = np.full((4, LOW_RES_SIDE, LOW_RES_SIDE), -8, np.float32)
            for token, size in ((1, 20), (2, 40), (3, 80)):
                logits[token, :size, :size] = 8
            return logits, np.full(4, 0.9, np.float32)

    [proposal] = propose(Nested(), grid=4, level=level)
    low_res = {"subpart": 20, "part": 40, "whole": 80}[level]
    assert np.sqrt(proposal.mask.sum()) == pytest.approx(low_res * 400 / 256, abs=2)


def test_unsure_and_unstable_masks_and_specks_are_left_out() -> None:
    assert propose(Blocks((10, 10, 60, 60), score=0.5), grid=8) == []
    assert propose(Blocks((10, 10, 13, 13)), grid=32) == []
    wavering = Blocks((10, 10, 60, 60))
    wavering.sharpness = 0.5
    assert propose(wavering, grid=8) == []


def test_no_more_are_proposed_than_wanted_and_the_best_come_first() -> None:
    assert len(propose(DiscEngine(), grid=8)) == 64
    assert len(propose(DiscEngine(), grid=8, most=10)) == 10
    scores = [proposal.score for proposal in propose(DiscEngine(), grid=8)]
    assert scores == sorted(scores, reverse=True)


def test_crops_find_what_is_too_small_for_the_whole_picture() -> None:
    """The engine sees black squares that have at least 20 low-res pixels a side."""

    class Near(DiscEngine):
        def encode(self, image: Pixels) -> Embedding:
            dark = (image[None, None, :, :, 0] < 128).astype(np.float32)
            return Embedding(dark, image.shape[0], image.shape[1])

        def decode(
            self,
            embedding: Embedding,
            points: Floats,
            labels: Floats,
            box: Floats | None = None,
            mask_input: Floats | None = None,
        ) -> tuple[Floats, Floats]:
            dark = embedding.features[0, 0] > 0
            scale = LOW_RES_SIDE / max(dark.shape)
            logits = np.full((4, LOW_RES_SIDE, LOW_RES_SIDE), -8, np.float32)
            x, y = points[0].astype(int)
            if dark[y, x] and np.sqrt(dark.sum()) * scale >= 20:
                rows, columns = np.nonzero(dark)
                top, left = int(rows.min() * scale), int(columns.min() * scale)
                bottom, right = int(rows.max() * scale) + 1, int(columns.max() * scale) + 1
                logits[:, top:bottom, left:right] = 8
            return logits, np.full(4, 0.9, np.float32)

    picture = np.full((600, 800, 3), 255, np.uint8)
    picture[60:110, 60:110] = 0
    assert propose(Near(), picture) == []
    [proposal] = propose(Near(), picture, crops=1)
    rows, columns = np.nonzero(proposal.mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx(
        (60, 109, 60, 109), abs=3
    )
