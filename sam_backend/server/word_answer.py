"""Answers the phrases of a smart `<TextArea>` with the masks of all objects that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam_backend import named_objects
from sam_backend.clicks import phrases
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.clicks.output import Result
from sam_backend.errors import Refusal
from sam_backend.images.tasks import ProjectTask
from sam_backend.services import Services
from sam_backend.shared import click_budget
from sam_backend.shared.click_budget import OutOfBudget


def answer(
    services: Services,
    project: str,
    config: LabelConfig,
    task: Mapping[str, Any],
    results: Sequence[Any],
) -> list[Result] | None:
    """The results for the phrases in a click, if it has any. Refusal if they name nothing.

    Of several pages the first one is searched, because a text does not say its page.
    """
    asked = phrases.from_click(results, config)
    if not asked:
        return None
    in_project = ProjectTask(services.state.project(project), task, config)
    regions: list[Result] = []
    for (control, to_name), named in asked.items():
        picture = in_project.picture(to_name, 0 if config.image(to_name).is_list else None)
        choice = config.output_choice(control, in_project.project.extra_params)
        try:
            with click_budget.search():
                for found in named_objects.results(
                    services.masks, in_project, picture, named, choice
                ):
                    regions += found
                    if found:
                        first = found[0]
                        click_budget.spend_pixels(
                            first["original_width"] * first["original_height"]
                        )
        except OutOfBudget as refusal:  # the other objects keep their masks
            services.refusals.report(f"task {picture.task_id}", refusal)
    if not regions:
        texts = ", ".join(repr(phrase.text) for group in asked.values() for phrase in group)
        raise Refusal(
            "prompt",
            f"the picture has no unmasked object called {texts[:200]}: use other words, or "
            "click the object",
        )
    return regions
