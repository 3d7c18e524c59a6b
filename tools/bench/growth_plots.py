"""Draws what tools.bench.growth measured: FOLDER/growth.json becomes four plots in FOLDER.

.venv-bench/bin/python -m tools.bench.growth_plots FOLDER
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


@dataclass(frozen=True)
class Plot:
    grows: str
    is_logarithmic: bool = True


PLOTS = {
    "size": Plot("megapixels of the picture"),
    "prompts": Plot("keypoints on one object", is_logarithmic=False),
    "masks": Plot("masks of 20 kB in the task", is_logarithmic=False),
    "cached": Plot("embeddings on disk"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    found = json.loads((folder / "growth.json").read_text())
    for name, plot in PLOTS.items():
        figure, axes = plt.subplots(figsize=(4.8, 3), layout="constrained")
        for line, points in found[name].items():
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=line)
        axes.set_xlabel(plot.grows)
        axes.set_ylabel("ms of the processor")
        if plot.is_logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        figure.savefig(folder / f"growth_{name}.png", dpi=100)
        plt.close(figure)


if __name__ == "__main__":
    main()
