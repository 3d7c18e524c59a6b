"""The objects in a picture that are like masks with a label, of the same task or of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sam_backend.clicks import find_rest, similar
from sam_backend.clicks.likeness import Looks
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Target
from sam_backend.images.tasks import ProjectTask
from sam_backend.mask_maker import MaskMaker


def results(
    maker: MaskMaker,
    task: ProjectTask,
    target: Target,
    control: str | None,
    examples: Mapping[str, Any],
    name: str,
    elsewhere: Looks | None,
) -> list[Result]:
    """The results of the objects that are like the examples, best first.

    `target` and `control` say where the masks go. `examples` is the task with only the annotation
    that has the examples, if there are any. `name` is how the ids of the regions begin.
    `elsewhere` are the looks of further examples, in other pictures.
    """
    objects = Objects()
    own = objects.existing(examples, target)[-find_rest.MOST_EXAMPLES :]
    there = objects.existing_of_any_label(examples, target)
    picture = task.picture(target.to_name, target.item_index)
    found = similar.rest(
        maker.engine.ready(),
        maker.pictures.embedding(picture, target.size),
        find_rest.stacked([region.low_res for region in own]),
        taken=find_rest.stacked([region.low_res for region in there]),
        elsewhere=elsewhere,
    )
    output = Output.in_control(task.config, target, control)
    return find_rest.written(found, name, output, maker.polygon_tolerance)
