"""The tables of `tools.quality`: means of two strategies, and their difference with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 4000  # of the bootstrap

Figures = dict[str, float]  # "IoU@1", "never 85", …


@dataclass(frozen=True)
class Pair:
    """What two strategies made of one object, with one habit of clicking."""

    domain: str
    image_name: str
    peer: Figures
    ours: Figures


def table(title: str, pairs: Sequence[Pair]) -> str:
    """Two strategies and their difference, a column for each figure."""
    names = list(pairs[0].ours)
    rows = [_head([f"{title}, {len(pairs)} objects", *names])]
    for label, side in (("example's rule", "peer"), ("ours", "ours")):
        means = [float(np.mean([getattr(pair, side)[name] for pair in pairs])) for name in names]
        rows.append(_row([label, *map(_value, names, means)]))
    rows.append(_row(["difference", *(difference(pairs, name) for name in names)]))
    return "\n".join(rows)


def domain_table(title: str, pairs: Sequence[Pair], names: Sequence[str]) -> str:
    """The difference in each domain."""
    rows = [_head([f"{title}, difference by domain", "objects", *names])]
    for domain in sorted({pair.domain for pair in pairs}):
        part = [pair for pair in pairs if pair.domain == domain]
        rows.append(_row([domain, str(len(part)), *(difference(part, name) for name in names)]))
    return "\n".join(rows)


def difference(pairs: Sequence[Pair], name: str) -> str:
    """Ours minus the example's, with a 95 % interval."""
    values = np.array([pair.ours[name] - pair.peer[name] for pair in pairs], np.float64)
    mean, low, high = interval(values, [pair.image_name for pair in pairs])
    return f"{_value(name, mean, '+')} [{_value(name, low, '+')}, {_value(name, high, '+')}]"


def interval(
    differences: npt.NDArray[np.float64], images: Sequence[str]
) -> tuple[float, float, float]:
    """Mean, and its 95 % bootstrap interval, drawn by image: its objects are not independent."""
    _, group = np.unique(images, return_inverse=True)
    sums, counts = np.bincount(group, differences), np.bincount(group)
    drawn = np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)


def _value(name: str, value: float, sign: str = "") -> str:
    if name.startswith("NoC"):
        return f"{value:{sign}.2f}"
    if name.startswith("never"):
        return f"{100 * value:{sign}.0f} %"
    return f"{value:{sign}.3f}".replace("0.", ".", 1)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(cells: Sequence[str]) -> str:
    return f"{_row(cells)}\n{_row(['---'] * len(cells))}"
