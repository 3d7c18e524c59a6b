"""The tables of searches for the rest of a kind, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 4000  # of the bootstrap

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """A sum over pictures by another one, with its 95 % bootstrap interval, drawn by picture."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{short(self.value)} [{short(self.low)}, {short(self.high)}]"


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio | None:
    """The ratio of the sums of two figures of the same pictures. None if it has no meaning."""
    top, bottom = np.array(above, np.float64), np.array(below, np.float64)
    if not bottom.sum():
        return None
    drawn = np.random.default_rng(0).integers(0, len(top), (DRAWS, len(top)))
    sums = bottom[drawn].sum(axis=1)
    values = top[drawn].sum(axis=1)[sums > 0] / sums[sums > 0]
    low, high = np.percentile(values, [2.5, 97.5])
    return Ratio(float(top.sum() / bottom.sum()), float(low), float(high))


def mean(values: Sequence[float]) -> Ratio | None:
    return ratio(values, [1.0] * len(values))


def short(value: float) -> str:
    """Two digits after the point, and none before it below 1."""
    text = f"{value:.2f}"
    return text if abs(value) >= 1 else text.replace("0.", ".", 1)


def table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of cells; None is an empty one."""
    lines: list[Sequence[object]] = [names, ["---"] * len(names), *rows]
    return "\n".join(_line(line) for line in lines)


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join('' if cell is None else str(cell) for cell in cells)} |"
