"""Annotates objects by two rules on the same embeddings, and compares the outcomes."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from sam_backend.clicks.segmenter import ObjectPrompt
from sam_backend.engines.protocol import Engine
from sam_backend.formats.mask import Mask
from tools.quality.click_protocol import (
    HABITS,
    INNERMOST,
    MAX_CLICKS,
    Habit,
    first_click,
    next_click,
    noisy_box,
    tight_box,
)
from tools.quality.engines import OncePerQuestion
from tools.quality.mask_scores import boundary_iou, clicks_to_reach, iou
from tools.quality.rules import Example, Ours, as_prompt
from tools.quality.tables import Figures, Pair
from tools.quality.targets import Target, embed

FIRST_CLICKS = 10  # of an object, for the spread between the best and the worst tenth
BOXES = "rectangles"

Answer = Callable[[ObjectPrompt], Mask]
Outcomes = dict[str, Figures]  # by the name of a habit, and BOXES


def outcomes(
    answer: Answer, target: Target, draws: int, habits: Sequence[Habit] = HABITS
) -> Outcomes:
    """The result of a strategy for one object, with each habit of clicking and with boxes."""
    found = {}
    for habit in habits:
        is_certain = habit is INNERMOST
        runs = [
            _clicked(answer, target, habit, _random(target, habit.name, draw))
            for draw in range(1 if is_certain else draws)
        ]
        found[habit.name] = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
        if not is_certain and draws > 1:
            found[habit.name]["spread"] = _spread(answer, target, habit)
    return found | {BOXES: _boxed(answer, target, draws)}


def measure(
    engine: Engine,
    targets: Iterable[Target],
    cache: Path | None,
    draws: int = 1,
    habits: Sequence[Habit] = HABITS,
) -> dict[str, list[Pair]]:
    """Pairs of outcomes of all objects, by the name of a habit, and BOXES."""
    pairs: dict[str, list[Pair]] = {}
    name, embedding = "", None
    for number, target in enumerate(targets, start=1):
        if embedding is None or target.image_name != name:
            name, embedding = target.image_name, embed(engine, target.image, cache)
        asked = OncePerQuestion(engine)
        peer = outcomes(Example(asked, embedding), target, draws, habits)
        ours = outcomes(Ours(asked, embedding), target, draws, habits)
        for habit in ours:
            pair = Pair(target.domain, target.image_name, peer[habit], ours[habit])
            pairs.setdefault(habit, []).append(pair)
        if sys.stderr.isatty():
            print(f"\r{number} objects", end="", file=sys.stderr)
    return pairs


def _clicked(answer: Answer, target: Target, habit: Habit, random: np.random.Generator) -> Figures:
    """Click until it is right."""
    clicks = [first_click(target.truth, habit, random)]
    ious, edges = list[float](), dict[int, float]()
    mask = answer(as_prompt(clicks))
    for count in range(1, MAX_CLICKS + 1):
        ious.append(iou(mask, target.truth))
        if count in (1, 3):
            edges[count] = boundary_iou(mask, target.truth)
        click = next_click(mask, target.truth, habit, random)
        if click is not None and count < MAX_CLICKS:
            clicks.append(click)
            mask = answer(as_prompt(clicks))
    after = {f"IoU@{count}": ious[count - 1] for count in (1, 2, 3, 5, 10)}
    noc = {f"NoC@{at}": clicks_to_reach(ious, at / 100, MAX_CLICKS) for at in (80, 85, 90)}
    never = {"never 85": float(max(ious) < 0.85)}
    return after | noc | never | {f"edge@{count}": value for count, value in edges.items()}


def _spread(answer: Answer, target: Target, habit: Habit) -> float:
    """The mean IoU of an object's best tenth of first clicks, minus that of the worst tenth."""
    random = _random(target, habit.name, -1)
    clicks = [first_click(target.truth, habit, random) for _ in range(FIRST_CLICKS)]
    ious = np.sort([iou(answer(as_prompt([click])), target.truth) for click in clicks])
    tenth = FIRST_CLICKS // 10
    return float(ious[-tenth:].mean() - ious[:tenth].mean())


def _boxed(answer: Answer, target: Target, draws: int) -> Figures:
    random = _random(target, BOXES, 0)
    moved = [noisy_box(target.truth, random) for _ in range(draws)]
    found: Figures = {}
    for name, boxes in (("box", [tight_box(target.truth)]), ("noisy box", moved)):
        masks = [answer(as_prompt([], box)) for box in boxes]
        found[name] = float(np.mean([iou(mask, target.truth) for mask in masks]))
        found[f"edge, {name}"] = float(np.mean([boundary_iou(m, target.truth) for m in masks]))
    return found


def _random(target: Target, habit: str, draw: int) -> np.random.Generator:
    """The same draws for every strategy."""
    return np.random.default_rng(zlib.crc32(f"{target.name} {habit} {draw}".encode()))
