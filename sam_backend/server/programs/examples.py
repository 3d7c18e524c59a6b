"""The examples of a search: objects that a prompt or a mask shows, as low-res masks."""

from __future__ import annotations

from dataclasses import dataclass

from sam_backend import metrics
from sam_backend.errors import Refusal
from sam_backend.exports import coco_rle
from sam_backend.formats.mask import Mask
from sam_backend.programs.image import low_res
from sam_backend.server.programs.fields import ExampleFields, ObjectFields
from sam_backend.server.programs.kept_images import KeptImage
from sam_backend.server.programs.objects import Objects


@dataclass(frozen=True)
class Examples:
    """The objects of a search as low-res masks (N, 256, 256)."""

    examples: Mask
    negatives: Mask
    taken: Mask
    decodes: int  # that the masks take if nothing is known of them yet


def low_res_examples(kept: KeptImage, asked: ExampleFields, objects: Objects) -> Examples:
    """The masks of all objects that a request for a search has."""
    sides = [
        [_example(kept, each, objects) for each in some]
        for some in (asked.examples, asked.negatives, asked.taken)
    ]
    alike, others, there = (low_res([mask for mask, _ in some]) for some in sides)
    return Examples(alike, others, there, sum(decodes for some in sides for _, decodes in some))


def _example(kept: KeptImage, asked: ObjectFields, objects: Objects) -> tuple[Mask, int]:
    """The low-res mask (256, 256) of an object, and the number of decodes that it takes."""
    frame = kept.image.embedding.frame
    if asked.mask is None:
        with metrics.STAGE.labels("decode").time():
            state = objects.answers.state(kept.image, objects.answered(kept, asked))
        return frame.low_res_mask(state.logits), state.prompt.decodes
    if asked.mask.get("size") != [frame.height, frame.width]:
        raise Refusal(
            "prompt",
            f"the size of a mask is not that of the image, [{frame.height}, {frame.width}]",
        )
    try:
        return frame.padded(coco_rle.sample(asked.mask, *frame.middles())), 0
    except ValueError as error:
        raise Refusal("prompt", f"a mask cannot be read: {error}") from None
