"""Where the simulated annotators click."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from sam_backend.formats.mask import Mask
from tools.quality.click_protocol import (
    ANYWHERE,
    HABITS,
    HUMAN_LIKE,
    INNER_HALF,
    INNERMOST,
    Click,
    Habit,
    first_click,
    next_click,
    noisy_box,
    tight_box,
)


def disc(x: float, y: float, radius: float) -> Mask:
    rows, columns = np.indices((512, 512))
    inside: Mask = np.hypot(columns - x, rows - y) <= radius
    return inside


def draws(count: int, click: Callable[[np.random.Generator], Click | None]) -> list[Click]:
    random = np.random.default_rng(0)
    found = [click(random) for _ in range(count)]
    return [each for each in found if each is not None]


def depths(habit: Habit, truth: Mask) -> list[float]:
    """The depths at first clicks, of 1 at the innermost pixel."""
    depth = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    clicks = draws(300, lambda random: first_click(truth, habit, random))
    return [float(depth[click.y, click.x] / depth.max()) for click in clicks]


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.name)
def test_the_first_click_is_positive_and_in_the_object(habit: Habit) -> None:
    truth = disc(256, 256, 100)
    clicks = draws(100, lambda random: first_click(truth, habit, random))
    assert all(click.positive and truth[click.y, click.x] for click in clicks)


def test_habits_click_at_different_depths() -> None:
    truth = disc(256, 256, 100)
    assert min(depths(INNERMOST, truth)) > 0.99
    assert min(depths(INNER_HALF, truth)) >= 0.5
    mean = 1 / 3  # of a disc
    assert np.mean(depths(ANYWHERE, truth)) == pytest.approx(mean, abs=0.05)
    assert 1.4 < np.mean(depths(HUMAN_LIKE, truth)) / mean < 2.1, "as measured on people"


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.name)
def test_corrections_are_in_the_largest_error_or_just_beside_it(habit: Habit) -> None:
    truth = disc(256, 256, 100)
    missed, spilt = disc(220, 256, 40), disc(430, 100, 50)
    shown = truth & ~missed | spilt
    clicks = draws(300, lambda random: next_click(shown, truth, habit, random))
    hits = [bool(spilt[click.y, click.x]) for click in clicks]
    assert not any(click.positive for click in clicks), "the spilt region is the larger one"
    assert 1 - np.mean(hits) == pytest.approx(habit.beside, abs=0.04)
    assert all(np.hypot(click.x - 430, click.y - 100) < 65 for click in clicks)


def test_a_missed_part_gets_a_positive_click() -> None:
    truth = disc(256, 256, 100)
    missed = disc(256, 200, 30)
    click = next_click(truth & ~missed, truth, INNERMOST, np.random.default_rng(0))
    assert click is not None
    assert click.positive
    assert np.hypot(click.x - 256, click.y - 200) <= 2


def test_a_right_mask_gets_no_click() -> None:
    truth = disc(256, 256, 100)
    assert next_click(truth, truth, HUMAN_LIKE, np.random.default_rng(0)) is None


def test_an_object_as_large_as_the_image_is_clicked_inside() -> None:
    whole = np.ones((40, 60), bool)
    shown = np.zeros_like(whole)
    clicks = draws(50, lambda random: next_click(shown, whole, HUMAN_LIKE, random))
    assert all(0 <= click.x < 60 and 0 <= click.y < 40 for click in clicks)


def test_boxes_are_tight_or_nearly() -> None:
    truth = disc(256, 200, 50)
    assert tight_box(truth).tolist() == [206, 150, 307, 251]
    moved = noisy_box(truth, np.random.default_rng(0)) - tight_box(truth)
    assert 0 < np.abs(moved).max() <= 0.05 * 101
