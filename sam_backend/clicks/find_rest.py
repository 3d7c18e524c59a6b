"""Answers prompts on examples with the masks of all objects in the picture that are like them.

A positive keypoint or a rectangle marks an example: the existing mask with its label, or else the
object that the model finds there. The mask of a new example is part of the answer. All other masks
with the label are examples too. A negative keypoint marks a counter-example. Nothing is kept
between requests, because the editor sends all its prompts each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from sam_backend import metrics
from sam_backend.clicks import prompts, similar
from sam_backend.clicks.existing_masks import ExistingMask
from sam_backend.clicks.objects import Objects
from sam_backend.clicks.output import Output, Result, ScoredMask
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.engines.frame import LOW_RES_SIDE, Indices
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.errors import Refusal
from sam_backend.formats.mask import Mask, tight_box

MOST_EXAMPLES = 16  # existing masks, and as many new ones
MOST_PIXELS = 250_000_000  # of all masks that are found: 20 in a picture of 12 megapixels
SAME_OBJECT = 0.5  # intersection over union of a rectangle and the box of its mask


def results(
    objects: Objects,
    engine: Engine,
    embedding: Embedding,
    output: Output,
    group: Sequence[Prompt],
    task: Mapping[str, Any],
    polygon_tolerance: float,
    decodes: int,
) -> list[Result]:
    """The results of new examples, and of the objects that are like the examples, best first.

    `decodes` limits the decodes for both.
    """
    target = output.target
    own, there = objects.existing(task, target), objects.existing_of_any_label(task, target)
    sides: dict[bool, list[Mask]] = {True: [], False: []}
    found: list[Result] = []
    room = max(1, MOST_PIXELS // (embedding.width * embedding.height))
    decoded = answered = 0  # new masks, and how many of them are in the answer
    with metrics.STAGE.labels("decode").time():
        for prompt in group:
            region = _meant(prompt, target, own if prompt.is_positive else there)
            if region is not None:
                sides[prompt.is_positive].append(region.low_res)
                continue
            if decoded == MOST_EXAMPLES or (prompt.is_positive and answered == room):
                raise Refusal(
                    "limit",
                    f"over {decoded} new examples at once in this picture: accept some of the "
                    "masks first, which removes their prompts",
                )
            decoded += 1
            answered += prompt.is_positive
            positive = [replace(prompt, is_positive=True)]
            sides[prompt.is_positive].append(objects.low_res(engine, embedding, target, positive))
            if prompt.is_positive:
                [(region_id, new)] = objects.segment(engine, embedding, {}, target, positive, ())
                if new.mask.any():
                    found += output.results(region_id, new, polygon_tolerance)
        named = len(sides[True])
        # Other masks with the label are further examples.
        sides[True] += [region.low_res for region in own[-MOST_EXAMPLES:]]
        examples, counter = stacked(sides[True]), stacked(sides[False])
        if not examples[:named].any():
            raise Refusal(
                "prompt",
                "there is no example of the kind: click an object or one of its masks without Alt",
            )
        taken = stacked([region.low_res for region in there])
        # By their number, not by what they cost: a known mask must not change the answer.
        rest = similar.rest(engine, embedding, examples, counter, taken, decodes - decoded)
    name = f"{prompts.mask_id(group[0].id)}~rest"
    found += written(islice(rest, max(1, room - answered)), name, output, polygon_tolerance)
    if not found:
        raise Refusal(
            "prompt",
            "nothing else in the picture is much like the examples: click one more example, or "
            "label the rest with the other tools",
        )
    return found


def written(
    found: Iterable[ScoredMask], name: str, output: Output, polygon_tolerance: float
) -> list[Result]:
    """The results of found masks, in regions with ids that begin with a name."""
    with metrics.STAGE.labels("rle").time():
        return [
            result
            for number, proposal in enumerate(found, start=1)
            for result in output.results(f"{name}{number}", proposal, polygon_tolerance)
        ]


def _meant(prompt: Prompt, target: Target, known: Sequence[ExistingMask]) -> ExistingMask | None:
    """The existing mask under a prompt."""
    if not prompt.is_rectangle:
        column, row = map(int, target.frame.spots(target.pixels([prompt]))[0])
        return next((region for region in reversed(known) if region.holds(column, row)), None)
    box = prompts.object_prompt([prompt], target).box
    if box is None or not known:
        return None
    corners = target.frame.spots(box).ravel()
    best = max(known, key=lambda region: _overlap(region, corners))
    return best if _overlap(best, corners) >= SAME_OBJECT else None


def _overlap(region: ExistingMask, box: Indices) -> float:
    """Intersection over union of the box of a mask and a box (4,), both in low-res pixels."""
    found = tight_box(region.low_res)
    if found is None:
        return 0.0
    own = np.array(found)
    sides = np.clip(np.minimum(own[2:], box[2:] + 1) - np.maximum(own[:2], box[:2]), 0, None)
    shared = sides.prod()
    return float(shared / ((own[2:] - own[:2]).prod() + (box[2:] + 1 - box[:2]).prod() - shared))


def stacked(masks: Sequence[Mask]) -> Mask:
    """Low-res masks (N, 256, 256)."""
    found: Mask = np.array(masks, bool).reshape(-1, LOW_RES_SIDE, LOW_RES_SIDE)
    return found
