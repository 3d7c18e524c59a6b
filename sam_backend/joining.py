"""Which earlier prompts belong to the ones that the editor just sent.

The editor sends keypoints and rectangles of one object apart: a context holds all live prompts of
one kind, never the other kind. It does not say either when a mask was accepted or rejected, which
ends an object and deletes its prompts. So what was seen earlier is joined only where every sign
says that it is still there; a stale prompt in the next object is worse than not joining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from sam_backend.prompts import PROMPT_TYPES, Prompt, distance

# The editor saves a draft 5 s after the last change, at worst 10 s after it. Until then nothing
# but the memory knows a prompt; from then on a prompt that lives is in the draft.
DRAFT_DELAY_S = 12.0
# A click to extend a rectangle's mask may lie a little outside of it, percent of the image.
MARGIN = 2.0


@dataclass(frozen=True)
class Draft:
    """The newest draft of whoever clicks: which version it is, and what it holds."""

    version: str
    prompt_ids: frozenset[str]
    mask_ids: frozenset[str]


class Trust(IntEnum):
    """Whether prompts stay until the annotator accepts, or go with each answer (auto-accept).

    Auto-accept cannot be seen, only suspected: prompts go away without a word. A rejected mask
    does the same, so one silent end costs a step, and two in a row end the joining until prompts
    are seen to stay again.
    """

    SUSPECT = 0
    NEUTRAL = 1
    PROVEN = 2


@dataclass(frozen=True)
class Memory:
    """What the last request for one task and target left behind."""

    prompts: tuple[Prompt, ...] = ()  # in the order in which they were placed
    draft: str = ""  # version of the draft then
    seen: float = 0.0  # when, in seconds since the epoch
    trust: Trust = Trust.NEUTRAL


def newest_draft(drafts: object) -> Draft:
    """The state of the draft that was saved last."""
    known = _mappings(drafts)
    if not known:
        return Draft("", frozenset(), frozenset())
    newest = max(known, key=lambda draft: str(draft.get("updated_at")))
    regions = _mappings(newest.get("result"))
    masks = frozenset(str(r.get("id")) for r in regions if not _is_prompt(r))
    # A mask of a config with several label controls is saved once per control, under each type.
    prompts = frozenset(str(r.get("id")) for r in regions if _is_prompt(r))
    return Draft(f"{newest.get('id')}@{newest.get('updated_at')}", prompts - masks, masks)


def join(
    context: Sequence[Prompt], memory: Memory, draft: Draft, now: float
) -> tuple[tuple[Prompt, ...], Memory]:
    """The prompts that the annotator sees on this object or these objects, and the new memory."""
    ids = {prompt.id for prompt in context}
    kinds = {prompt.is_rectangle for prompt in context}
    same_kind = [p for p in memory.prompts if p.is_rectangle in kinds]
    joined = [
        p
        for p in memory.prompts
        if p.is_rectangle not in kinds and _is_alive(p, memory, draft, now)
    ]
    trust = memory.trust
    if any(p.id in draft.prompt_ids or p.id in ids for p in memory.prompts):
        trust = Trust.PROVEN
    elif same_kind:  # all gone, so that object is done
        trust = Trust(max(trust - 1, Trust.SUSPECT))
        joined = []
    if trust is Trust.SUSPECT or not (ids & {p.id for p in same_kind} or _touch(context, joined)):
        joined = []
    fresh = {prompt.id: prompt for prompt in context}  # a prompt may have been moved
    kept = [fresh.pop(p.id, p) for p in memory.prompts if p.id in fresh or p in joined]
    prompts = (*kept, *fresh.values())
    return prompts, Memory(prompts, draft.version, now, trust)


def accepted(memory: Memory) -> Memory:
    """The memory after the editor said that no prompt is left, as it does on a manual accept."""
    return replace(memory, prompts=(), trust=Trust.PROVEN)


def ended(memory: Memory) -> Memory:
    """The memory after the annotation was saved: how its masks were accepted stays unknown."""
    return replace(memory, prompts=())


def _is_alive(prompt: Prompt, memory: Memory, draft: Draft, now: float) -> bool:
    if prompt.id in draft.mask_ids:
        return False
    if prompt.id in draft.prompt_ids:
        return True
    return draft.version == memory.draft and 0 <= now - memory.seen < DRAFT_DELAY_S


def _touch(context: Sequence[Prompt], others: Sequence[Prompt]) -> bool:
    """Whether prompts of two kinds can mean the same objects: positive points lie in a box."""
    rectangles = [p for p in (*context, *others) if p.is_rectangle]
    points = [p for p in (*context, *others) if not p.is_rectangle and p.is_positive]
    return bool(rectangles) and all(
        min(distance(point, rectangle) for rectangle in rectangles) <= MARGIN for point in points
    )


def _is_prompt(region: Mapping[str, Any]) -> bool:
    value = region.get("value")
    has_place = isinstance(value, Mapping) and "x" in value and "rle" not in value
    return has_place and (region.get("type") in PROMPT_TYPES or region.get("type") == "labels")


def _mappings(values: object) -> list[Mapping[str, Any]]:
    return [v for v in values if isinstance(v, Mapping)] if isinstance(values, list) else []
