"""The masks of all objects that a phrase names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sam_backend.clicks.everything import Proposal, overlap_of_boxes
from sam_backend.clicks.existing_masks import ExistingMask
from sam_backend.clicks.segmenter import ObjectPrompt, segment
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.engines.text_protocol import Finding
from sam_backend.formats.mask import Mask

MOST_OBJECTS = 60  # of one phrase: a detector's boxes need a decode each
SAME_BOX, SAME_MASK = 0.7, 0.8  # the IoU above which a finding is a duplicate
THERE = 0.5  # the IoU above which an object has a mask already


def masks(
    named: Sequence[Finding],
    engine: Engine,
    embedding: Embedding,
    there: Sequence[ExistingMask] = (),
) -> Iterator[tuple[int, Proposal]]:
    """The masks of the objects that a phrase names and their numbers, without masks in `there`.

    `named` is what the text model finds, best first.
    """
    kept = [mask.low_res for mask in there]
    boxes: list[Floats] = []
    for number, finding in enumerate(named[:MOST_OBJECTS], start=1):
        if (overlap_of_boxes(finding.box, np.reshape(boxes, (-1, 4))) > SAME_BOX).any():
            continue
        found = _proposal(engine, embedding, finding)
        if found is None or not found.mask.any():
            continue
        small = embedding.frame.shrink(found.mask.astype(np.float32), 0) > 0.5
        least = [THERE] * len(there) + [SAME_MASK] * (len(kept) - len(there))
        if any(_overlap(small, other) > most for other, most in zip(kept, least, strict=True)):
            continue
        boxes.append(finding.box)
        kept.append(small)
        yield number, found


def _proposal(engine: Engine, embedding: Embedding, finding: Finding) -> Proposal | None:
    if finding.mask is not None:
        return Proposal(finding.mask, finding.score)
    if (finding.box[2:] - finding.box[:2] < 1).any():
        return None
    nothing = np.zeros((0, 2), np.float32)
    prompt = ObjectPrompt(points=nothing, labels=np.zeros(0, np.float32), box=finding.box)
    return Proposal(segment(engine, embedding, prompt).mask, finding.score)


def _overlap(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    shared, union = int(np.count_nonzero(one & other)), int(np.count_nonzero(one | other))
    return shared / max(1, union)
