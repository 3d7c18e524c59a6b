"""Compares an answer with the right one."""

from __future__ import annotations

from tools.soak.clicks import Answer, likeness

RIGHT, OTHER, WRONG, NONE = KINDS = (
    "right to the pixel",
    "another outline of the object",
    "another object's mask",
    "no mask where there is one",
)
CUT, REFUSED = FAILURES = ("cut off", "refused")

_SAME_OBJECT = 0.9  # IoU: below, it is another object's mask


def kind(answer: Answer, right: Answer) -> str:
    """The outcome of the comparison: one of KINDS or FAILURES."""
    if answer.masks is None:
        return CUT
    if answer.status != 200:
        return REFUSED
    if answer.masks == right.masks:
        return RIGHT
    if not answer.masks:
        return NONE
    return OTHER if likeness(answer, right) >= _SAME_OBJECT else WRONG
