"""The masks of one part of a click: of the objects under its prompts, or of all like them."""

from __future__ import annotations

from sam_backend.clicks import find_rest, prompts
from sam_backend.clicks.output import Result
from sam_backend.errors import Refusal
from sam_backend.server.click_plan import Part
from sam_backend.services import Services
from sam_backend.shared import click_budget, stale
from sam_backend.shared.click_budget import OutOfBudget


def results(services: Services, part: Part) -> list[Result]:
    """The results of one part of a click, unless a newer click overtakes it."""
    with part.turn:
        return _rest(services, part) if part.finds_rest else _masks(services, part)


def _rest(services: Services, part: Part) -> list[Result]:
    """The masks of all objects that are like the objects under the prompts."""
    embedding = services.pictures.embedding(part.picture, part.output.target.size)
    with click_budget.search():
        return find_rest.results(
            services.objects,
            services.engine.ready(),
            embedding,
            part.output,
            part.prompts,
            part.picture.task,
            services.settings.polygon_tolerance,
        )


def _masks(services: Services, part: Part) -> list[Result]:
    """The masks of all objects under the prompts of one label on one image."""
    output, regions = part.output, list[Result]()
    embedding = services.pictures.embedding(part.picture, output.target.size)
    stale.check()  # kept masks answer without a decode, which would check it
    learnt = services.learning.learnt(part.picture.project, output.target.labels)
    for group in prompts.objects(part.prompts):
        try:
            found = services.objects.results(
                services.engine.ready(),
                embedding,
                output,
                group,
                part.picture.task,
                part.sent,
                services.settings.polygon_tolerance,
                learnt,
            )
        except OutOfBudget as refusal:  # the other objects keep their masks
            services.refusals.report(f"task {part.picture.task_id}", refusal)
            break
        if not found:
            raise Refusal("prompt", "the model finds no object there: click another spot")
        regions += found
    return regions
