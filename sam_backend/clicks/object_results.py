"""From the prompts of one object to the results of its masks, for clicks and for data sets."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sam_backend import metrics, watched_click
from sam_backend.clicks import overlap, prompts
from sam_backend.clicks.learnt_shapes import Learnt
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result
from sam_backend.clicks.prompts import Prompt
from sam_backend.engines.protocol import Embedding, Engine


def results(
    objects: Objects,
    engine: Engine,
    embedding: Embedding,
    output: Output,
    group: Sequence[Prompt],
    task: Mapping[str, Any],
    sent: Container[str],
    polygon_tolerance: float,
    learnt: Learnt | None = None,
) -> list[Result]:
    """The results of an object's masks. Empty if the model finds no object there.

    See `Objects.segment` for the arguments. A polygon may be off by `polygon_tolerance` pixels.
    """
    target = output.target
    with metrics.STAGE.labels("decode").time(), watched_click.stage("decode"):
        found = objects.segment(
            engine, embedding, task, target, group, sent, output.most_masks(group), learnt
        )
    if not all(segmentation.mask.any() for _, segmentation in found):
        return []
    for _, segmentation in found:
        watched_click.current().saw_mask(segmentation.mask)
    new = {prompts.mask_id(prompt.id) for prompt in group}
    wish = output.control.finish.overlap
    answer: list[Result] = []
    with metrics.STAGE.labels("rle").time():
        for region_id, each in found:
            mask, cut = each.mask, list[Result]()
            if wish != "allow":
                touched = objects.touching(task, target, mask)
                others = [other for other in touched if other.id != region_id]
                mask, cut = overlap.applied(wish, mask, others, task)
            is_new = region_id.partition("~")[0] in new
            answer += output.results(
                region_id, replace(each, mask=mask), polygon_tolerance, is_new=is_new
            )
            answer += cut
    return answer
