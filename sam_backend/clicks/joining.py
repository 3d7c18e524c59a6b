"""Decides which earlier prompts belong to the prompts that the editor just sent.

The editor sends the keypoints and the rectangle of one object separately: a context contains all
live prompts of one kind, and none of the other. The editor also does not report that a mask was
accepted or rejected, which ends an object and deletes its prompts. So earlier prompts are joined
only if all signs show that they still exist. A stale prompt in the next object is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from sam_backend.clicks.prompts import Prompt, mask_id, nearest_rectangle, rectangle_array
from sam_backend.formats import results
from sam_backend.formats.results import SHARED_LABELS, has_place, is_prompt, name

# The editor saves a draft 5 to 10 s after the last change. Until then, only the memory has a new
# prompt. From then on, a live prompt is in the draft.
DRAFT_DELAY_S = 12.0
# A click to extend a rectangle's mask may lie a little outside of it, percent of the image.
MARGIN = 2.0


@dataclass(frozen=True)
class Draft:
    """The newest draft of the annotator who clicks: its version and its content."""

    version: str
    prompt_ids: frozenset[str]
    mask_ids: frozenset[str]


class Trust(IntEnum):
    """Whether prompts stay until the annotator accepts, or vanish with each answer (auto-accept).

    Auto-accept can only be suspected. Prompts vanish without a report, as they do when a mask is
    accepted or rejected by hand. So each such end costs one step of trust, and a sign that prompts
    stay restores all of it.
    """

    SUSPECT = 0
    NEUTRAL = 1
    PROVEN = 4


@dataclass(frozen=True)
class EarlierClick:
    """What the last click on one target of a task leaves for the next one."""

    prompts: tuple[Prompt, ...] = ()  # joined prompts come first
    draft_version: str = ""  # at that time
    time: float = 0.0  # in seconds since the epoch
    trust: int = Trust.NEUTRAL
    sends_rectangles: bool = False  # a click brought one: the draft need not tell of them


def newest_draft(drafts: object) -> Draft:
    """The state of the last saved draft."""
    newest = results.newest(drafts)
    if newest is None:
        return Draft("", frozenset(), frozenset())
    regions = results.of_saved(newest)
    masks = frozenset(name(r.get("id")) for r in regions if not _is_prompt(r))
    # A mask of a config with several label controls is saved once per control, under each type.
    prompts = frozenset(name(r.get("id")) for r in regions if _is_prompt(r))
    return Draft(
        f"{name(newest.get('id'))}@{name(newest.get('updated_at'))}", prompts - masks, masks
    )


def join(
    context: Sequence[Prompt], earlier: EarlierClick, draft: Draft, now: float, aspect: float
) -> tuple[tuple[Prompt, ...], EarlierClick]:
    """The prompts that the annotator sees on these objects, and what the next click needs.

    `aspect` is the image's.
    """
    ids = {prompt.id for prompt in context}
    kinds = {prompt.is_rectangle for prompt in context}
    same_kind = [p for p in earlier.prompts if p.is_rectangle in kinds]
    joined = [
        p
        for p in earlier.prompts
        if p.is_rectangle not in kinds and _is_alive(p, earlier, draft, now)
    ]
    trust = _trust(ids, earlier, draft, ended=bool(same_kind))
    if same_kind and not ids & {p.id for p in same_kind}:
        joined = []  # the prompts before these are gone, so their object is done
    elif not same_kind and not (_touch(context, joined, aspect) and (trust or _only_cuts(context))):
        joined = []
    # The editor decides the order of the context. Joined prompts must not change it, because clicks
    # are decoded one on top of the other.
    prompts = (*joined, *context)
    sends_rectangles = earlier.sends_rectangles or True in kinds
    return prompts, EarlierClick(prompts, draft.version, now, trust, sends_rectangles)


def ended(earlier: EarlierClick) -> EarlierClick:
    """The earlier click, after a report that the task has no prompts left."""
    return replace(earlier, prompts=())


def _trust(ids: set[str], earlier: EarlierClick, draft: Draft, *, ended: bool) -> int:
    known = {prompt.id for prompt in earlier.prompts}
    if known & (ids | draft.prompt_ids):
        return Trust.PROVEN  # they survived an answer
    masks = {prompt_id for prompt_id in known if mask_id(prompt_id) in draft.mask_ids}
    if len(masks) > 1:
        return Trust.SUSPECT  # the mask of one object was accepted after each of its prompts
    return max(earlier.trust - 1, Trust.SUSPECT) if ended else earlier.trust


def _only_cuts(context: Sequence[Prompt]) -> bool:
    """No object starts with a negative keypoint, so this keypoint cuts the last drawn object."""
    return not any(prompt.is_rectangle or prompt.is_positive for prompt in context)


def _is_alive(prompt: Prompt, earlier: EarlierClick, draft: Draft, now: float) -> bool:
    if mask_id(prompt.id) in draft.mask_ids:
        return False
    if prompt.id in draft.prompt_ids:
        return True
    return draft.version == earlier.draft_version and 0 <= now - earlier.time < DRAFT_DELAY_S


def _touch(context: Sequence[Prompt], others: Sequence[Prompt], aspect: float) -> bool:
    """Whether prompts of two kinds may belong together: all positive points lie in a box."""
    rectangles = [p for p in (*context, *others) if p.is_rectangle]
    points = [p for p in (*context, *others) if not p.is_rectangle and p.is_positive]
    array = rectangle_array(rectangles, aspect)
    return bool(rectangles) and all(
        nearest_rectangle(point, array)[1] <= MARGIN for point in points
    )


def _is_prompt(region: Mapping[str, Any]) -> bool:
    """Whether a result is a prompt, or carries the shared label of one."""
    return is_prompt(region) or (region.get("type") == SHARED_LABELS and has_place(region))
