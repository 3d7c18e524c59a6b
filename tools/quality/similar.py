"""Measures the search for the rest of a kind: from one example, from three, and after rejections.

    python -m tools.quality.similar FOLDER [--half 0|1] [--most N] [--cache FOLDER]
    python -m tools.quality.similar FOLDER --clicks
    python -m tools.quality.similar FOLDER --across

FOLDER is as for `tools.quality`. Its index.json must list all objects of a label that a picture
shows, because every other mask counts as wrong. F1, precision and recall are for masks with an IoU
of at least .5, without the examples. F1 is the mean over the searches, and the others are of all
masks. Saved clicks are the right masks minus the wrong ones, as a share of the objects to find: a
right mask saves a click, and a wrong one costs one. Ranges in brackets are 95 % intervals.
`--clicks` simulates an annotator who corrects all masks, see `tools.quality.similar_clicks`.
`--across` takes 16 examples of other pictures with the label, which are drawn, and none of the
picture.

`--half` measures every second picture of each domain: choose thresholds on one half, and report the
other half. `--most` draws N pictures of each domain, in every run the same ones. The time is
processor time.
"""

from __future__ import annotations

import argparse
import sys

from tools.quality import similar_across
from tools.quality.rules import served
from tools.quality.similar_clicks import efforts
from tools.quality.similar_pictures import add_arguments, pictures_in
from tools.quality.similar_report import clicks_report, report
from tools.quality.similar_searches import ONE, outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description="How much of the rest is found by example.")
    add_arguments(parser)
    parser.add_argument("--half", type=int, choices=(0, 1), help="every second picture only")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--clicks", action="store_true", help="with the corrections of all masks")
    kinds.add_argument("--across", action="store_true", help="with examples of other pictures")
    options = parser.parse_args()
    name, engine = served()
    every = pictures_in(options.folder, options.half, options.most)
    if options.clicks:
        efforts_of = []
        for picture in every:
            efforts_of.append((picture, efforts(engine, picture, options.cache)))
            print(picture.name, efforts_of[-1][1], file=sys.stderr, flush=True)
        print(clicks_report(name, efforts_of))
        return
    if options.across:
        pool = pictures_in(options.folder)
        print(report(name, list(similar_across.searches(engine, every, pool, options.cache))))
        return
    measured = []
    for picture in every:
        measured.append((picture, outcomes(engine, picture, options.cache)))
        print(picture.name, measured[-1][1][ONE], file=sys.stderr, flush=True)
    print(report(name, measured))


if __name__ == "__main__":
    main()
