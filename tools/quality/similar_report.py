"""What is printed of searches for the rest of a kind: a row for each domain and kind of search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.quality.similar_clicks import LEVELS, Effort
from tools.quality.similar_pictures import Picture
from tools.quality.similar_searches import AGAIN, Outcome
from tools.quality.similar_tables import mean, ratio, table

Measured = Sequence[tuple[Picture, dict[str, Outcome]]]


def report(name: str, measured: Measured) -> str:
    """A row for each domain and kind of search."""
    rows = [
        _row(domain, kind, some)
        for domain in dict.fromkeys(picture.domain for picture, _ in measured)
        for kind in dict.fromkeys(kind for _, found in measured for kind in found)
        if (some := _of(measured, domain, kind))
    ]
    head = "from", "searches", "F1", "precision", "recall", "saved", "offered", "decodes", "ms"
    return table([name, *head], rows)


def _of(measured: Measured, domain: str, kind: str) -> list[Outcome]:
    return [o[kind] for picture, o in measured if picture.domain == domain and kind in o]


def _row(domain: str, kind: str, some: Sequence[Outcome]) -> list[object]:
    right, offered = [each.right for each in some], [each.offered for each in some]
    wanted = [each.wanted for each in some]
    gain = [2 * each.right - each.offered for each in some]
    return [
        domain,
        kind,
        len(some),
        mean([each.f1 for each in some]),
        ratio(right, offered),
        ratio(right, wanted),
        # The wrong masks of the round before the rejections are not known here.
        None if kind == AGAIN else ratio(gain, wanted),
        f"{np.mean(offered):.1f} ({sum(right)} of {sum(offered)} right)",
        f"{np.mean([each.decodes for each in some]):.0f}",
        f"{1000 * np.median([each.seconds for each in some]):.0f}",
    ]


def clicks_report(name: str, measured: Sequence[tuple[Picture, dict[float, Effort]]]) -> str:
    """A row for each domain and level."""
    head = "IoU", "pictures", "actions alone", "with search", "saved", "IoU alone", "with search"
    rows: list[list[object]] = []
    for domain in dict.fromkeys(picture.domain for picture, _ in measured):
        for level in LEVELS:
            some = [found[level] for picture, found in measured if picture.domain == domain]
            alone, searched = [each.alone for each in some], [each.searched for each in some]
            saved = ratio([a - s for a, s in zip(alone, searched, strict=True)], alone)
            means = [f"{np.mean(each):.1f}" for each in (alone, searched)]
            ious = [[each.alone_iou for each in some], [each.searched_iou for each in some]]
            rows.append(
                [
                    domain,
                    level,
                    len(some),
                    *means,
                    saved,
                    *(f"{np.mean(each):.3f}" for each in ious),
                ]
            )
    return table([name, *head], rows)
