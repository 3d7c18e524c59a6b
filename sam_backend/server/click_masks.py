"""The masks of one part of a click: of the objects at its prompts, or of all objects like them."""

from __future__ import annotations

from collections.abc import Callable

from sam_backend.clicks import find_rest, object_results
from sam_backend.clicks.output import Result
from sam_backend.errors import Refusal
from sam_backend.mask_maker import MaskMaker
from sam_backend.server.click_plan import Part
from sam_backend.shared import click_budget, stale
from sam_backend.shared.click_budget import OutOfBudget

Report = Callable[[str, Refusal], None]


def results(maker: MaskMaker, report: Report, part: Part) -> list[Result]:
    """The results of one part of a click, unless a newer click overtakes it.

    `report` tells people of objects that get no mask, while the others keep theirs.
    """
    with part.turn:
        return _rest(maker, report, part) if part.finds_rest else _masks(maker, report, part)


def _rest(maker: MaskMaker, report: Report, part: Part) -> list[Result]:
    """The masks of all objects that are like the objects under the prompts."""
    embedding = maker.pictures.embedding(part.picture, part.output.target.size)
    try:
        with click_budget.search():
            return find_rest.results(
                maker.objects,
                maker.engine.ready(),
                embedding,
                part.output,
                part.prompts,
                part.picture.task,
                maker.polygon_tolerance,
                click_budget.DECODES_A_SEARCH,
            )
    except OutOfBudget as refusal:  # the masks of other labels stay
        report(f"task {part.picture.task_id}", refusal)
        return []


def _masks(maker: MaskMaker, report: Report, part: Part) -> list[Result]:
    """The masks of all objects under the prompts of one label on one image."""
    output, regions = part.output, list[Result]()
    embedding = maker.pictures.embedding(part.picture, output.target.size)
    stale.check()  # kept masks answer without a decode, which would check it
    learnt = maker.learning.learnt(part.picture.project, output.target.labels)
    for group in part.objects:
        try:
            pixels = embedding.width * embedding.height
            click_budget.spend_pixels(pixels * output.most_masks(group))
            found = object_results.results(
                maker.objects,
                maker.engine.ready(),
                embedding,
                output,
                group,
                part.picture.task,
                part.sent,
                maker.polygon_tolerance,
                learnt,
            )
        except OutOfBudget as refusal:  # the other objects keep their masks
            report(f"task {part.picture.task_id}", refusal)
            break
        if not found:
            raise Refusal("prompt", "the model finds no object there: click another spot")
        regions += found
    return regions
