"""Floors: what real weights make of real objects, for each kind of prompt."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sam_backend.clicks.segmenter import ObjectPrompt, segment
from sam_backend.engines.frame import Frame
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def scene() -> tuple[npt.NDArray[np.uint8], Mask, Mask]:
    """A bright ball and a dark slab on a noisy ground, with their masks."""
    rows, columns = np.mgrid[:480, :640]
    noise = np.random.default_rng(3).normal(0, 6, (480, 640, 3))
    ball = np.hypot(rows - 200, columns - 180) < 90
    slab = (rows > 250) & (rows < 420) & (columns > 380) & (columns < 560)
    pixels = np.full((480, 640, 3), (70, 110, 70)) + noise
    pixels[ball] += (150, 60, -30)
    pixels[slab] += (-30, -60, 90)
    return np.clip(pixels, 0, 255).astype(np.uint8), ball, slab


def prompt(*points: tuple[float, float, int], box: tuple[float, ...] | None = None) -> ObjectPrompt:
    return ObjectPrompt(
        np.array([point[:2] for point in points], np.float32).reshape(-1, 2),
        np.array([point[2] for point in points], np.float32),
        None if box is None else np.array(box, np.float32),
    )


@pytest.fixture(scope="module")
def drawn(engine: Engine) -> tuple[Embedding, Mask, Mask]:
    pixels, ball, slab = scene()
    return engine.encode(pixels), ball, slab


def test_a_keypoint(engine: Engine, drawn: tuple[Embedding, Mask, Mask]) -> None:
    embedding, ball, slab = drawn
    assert iou(segment(engine, embedding, prompt((180, 200, 1))).mask, ball) > 0.95
    assert iou(segment(engine, embedding, prompt((470, 330, 1))).mask, slab) > 0.95


def test_a_rectangle(engine: Engine, drawn: tuple[Embedding, Mask, Mask]) -> None:
    embedding, ball, _ = drawn
    assert iou(segment(engine, embedding, prompt(box=(88, 108, 272, 292))).mask, ball) > 0.95


def test_a_rectangle_with_keypoints(engine: Engine, drawn: tuple[Embedding, Mask, Mask]) -> None:
    embedding, ball, _ = drawn
    mixed = prompt((180, 200, 1), (600, 40, 0), box=(88, 108, 272, 292))
    assert iou(segment(engine, embedding, mixed).mask, ball) > 0.95


def test_a_negative_keypoint_takes_an_object_out(
    engine: Engine, drawn: tuple[Embedding, Mask, Mask]
) -> None:
    embedding, ball, slab = drawn
    both = segment(engine, embedding, prompt((180, 200, 1), (470, 330, 1))).mask
    assert both[200, 180]
    assert both[330, 470]
    cut = segment(engine, embedding, prompt((180, 200, 1), (470, 330, 0))).mask
    assert iou(cut, ball) > 0.9
    assert not (cut & slab).any()


@pytest.mark.parametrize("shape", [(64, 900), (900, 64), (1, 1), (37, 53), (1024, 1024)])
def test_images_of_any_shape(engine: Engine, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 255, (*shape, 3)).astype(np.uint8)
    embedding = engine.encode(image)
    point = prompt((shape[1] / 2, shape[0] / 2, 1))
    assert segment(engine, embedding, point).mask.shape == shape


def test_low_res_logits_land_where_they_belong() -> None:
    """One low-res pixel of a 3:2 image is 1000 / 256 image pixels, from the top left corner."""
    logits = np.full((256, 256), -1, np.float32)
    logits[10:20, 30:50] = 1
    big = Frame(667, 1000).upsample(logits) > 0
    rows, columns = np.nonzero(big)
    step = 1000 / 256
    assert big.shape == (667, 1000)
    assert (rows.min(), rows.max() + 1) == pytest.approx((10 * step, 20 * step), abs=1)
    assert (columns.min(), columns.max() + 1) == pytest.approx((30 * step, 50 * step), abs=1)


@cache
def objects(shared: Path) -> list[dict[str, Any]]:
    """Every twentieth object of the shared set: 16 in six domains."""
    found: list[dict[str, Any]] = json.loads((shared / "eval" / "index.json").read_text())
    return found[::20]


@pytest.fixture(scope="module")
def looked_at(engine: Engine, shared: Path) -> list[tuple[Embedding, Mask, tuple[float, ...]]]:
    found = []
    for item in objects(shared):
        image = np.asarray(Image.open(shared / "eval" / item["image"]).convert("RGB"))
        truth = np.asarray(Image.open(shared / "eval" / item["mask"]).convert("L")) > 0
        found.append((engine.encode(image), truth, tuple(item["box"])))
    return found


def test_boxes_around_real_objects(
    engine: Engine, looked_at: list[tuple[Embedding, Mask, tuple[float, ...]]]
) -> None:
    ious = [iou(segment(engine, e, prompt(box=b)).mask, truth) for e, truth, b in looked_at]
    assert np.mean(ious) > 0.68


def test_one_keypoint_in_the_middle_of_real_objects(
    engine: Engine, looked_at: list[tuple[Embedding, Mask, tuple[float, ...]]]
) -> None:
    ious = []
    for embedding, truth, _ in looked_at:
        rows, columns = np.nonzero(truth)
        nearest = np.argmin(np.hypot(rows - rows.mean(), columns - columns.mean()))
        point = prompt((columns[nearest], rows[nearest], 1))
        ious.append(iou(segment(engine, embedding, point).mask, truth))
    assert np.mean(ious) > 0.40
