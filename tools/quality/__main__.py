"""Counts the clicks for a good mask, with our rule and the example's on the same embeddings.

    python -m tools.quality [FOLDER]          the tables, as Markdown
    python -m tools.quality --pictures IMAGES docs

FOLDER holds an index.json: a list of objects with image, mask (a binary PNG), set (the domain) and
label. Without it, a few drawn scenes are measured, which any machine has. The model is the one that
the settings serve: SAM_CHOICE, SAM_ENGINE and the like.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.quality.click_protocol import HABITS
from tools.quality.engines import WithoutFeedback
from tools.quality.measure import BOXES, measure
from tools.quality.pictures import draw_pictures
from tools.quality.rules import served
from tools.quality.tables import Pair, domain_table, table
from tools.quality.targets import drawn_targets, targets_in


def report(engine_name: str, measured: dict[str, list[Pair]]) -> str:
    tables = [table(f"{engine_name}, {habit}", pairs) for habit, pairs in measured.items()]
    for habit in HABITS[:2]:
        columns = ["IoU@1", "IoU@3", "IoU@5", "NoC@85", "never 85"]
        tables.append(domain_table(habit.name, measured[habit.name], columns))
    tables.append(domain_table(BOXES, measured[BOXES], ["box", "noisy box"]))
    return "\n\n".join(tables)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tools.quality", description="Clicks that a good mask takes, by two rules."
    )
    parser.add_argument("folder", type=Path, nargs="?", help="objects with ground truth")
    parser.add_argument("--limit", type=int, help="measure so many objects, evenly spread")
    parser.add_argument("--draws", type=int, default=2, help="annotate each object N times")
    parser.add_argument("--cache", type=Path, help="keep embeddings in this folder")
    parser.add_argument("--pictures", type=Path, nargs=2, metavar=("IMAGES", "OUT"))
    parser.add_argument(
        "--without-feedback",
        action="store_true",
        help="give the model neither negative points nor earlier masks",
    )
    options = parser.parse_args()
    name, engine = served()
    if options.without_feedback:
        engine = WithoutFeedback(engine)
    if options.pictures:
        draw_pictures(engine, *options.pictures)
        return
    targets = targets_in(options.folder, options.limit) if options.folder else drawn_targets()
    print(report(name, measure(engine, targets, options.cache, options.draws)))


if __name__ == "__main__":
    main()
