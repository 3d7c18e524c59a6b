"""Selects the rectangles that a click asks about. The editor sends more rectangles than that.

Label Studio 1.23.2 sends every rectangle of the same label, also one that was drawn by hand. Later
versions send every rectangle of the control, of all labels and pages. An answer replaces all masks
that wait to be accepted. So it holds the mask of the newest rectangle, and the masks of the
rectangles with its label and page that were answered before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sam_backend.clicks import prompts
from sam_backend.clicks.prompts import Prompt, Target, mask_id
from sam_backend.formats import results
from sam_backend.formats.results import RECTANGLE_TYPES, Result, name

_BARE = RECTANGLE_TYPES[1]  # without labels of its own

Found = Mapping[Target, tuple[Prompt, ...]]
Rectangle = tuple[float, float, float, float, float]  # x, y, width, height in percent; angle


def asked_about(
    found: Found,
    answered: Callable[[Target], Sequence[Prompt]],
    saved: Callable[[], Mapping[str, Rectangle]],
) -> Found:
    """The prompts of a context without rectangles that nobody asks about now.

    `answered` tells the prompts of the last answer for a target, and `saved` the place of each
    rectangle that Label Studio saved. Both are asked only where there are several rectangles.
    """
    rectangles = [(target, p) for target, group in found.items() for p in group if p.is_rectangle]
    if len(rectangles) < 2:
        return found
    targets = dict.fromkeys(target for target, _ in rectangles)  # each is asked about once
    before = {target: {p.id: _rectangle(p) for p in answered(target)} for target in targets}
    known = saved()
    changed = [
        (target, prompt)
        for target, prompt in rectangles
        if _rectangle(prompt) != before[target].get(prompt.id, known.get(prompt.id))
    ]
    earlier = [(target, prompt) for target, prompt in rectangles if prompt.id in before[target]]
    # A slow Label Studio has saved the new one already. The editor lists it last.
    newest_target, newest = (changed or rectangles)[-1]
    wanted = {prompt.id for _, prompt in changed} | {prompt.id for _, prompt in earlier}
    wanted.add(newest.id)
    kept = {
        target: tuple(
            p for p in group if not p.is_rectangle or (target == newest_target and p.id in wanted)
        )
        for target, group in found.items()
    }
    return {target: group for target, group in kept.items() if group}


def drawn(task: Mapping[str, Any]) -> Found:
    """The bare rectangles in a task's newest draft that have no mask yet.

    Versions after 1.23.2 send an empty context when one is drawn with a smart tool. The draft is
    saved some seconds later, so it holds the rectangles that were drawn before the newest one.
    """
    draft = results.newest(task.get("drafts"))
    there = [] if draft is None else results.of_saved(draft)
    ids = {name(result.get("id")) for result in there}
    wanted = {
        name(result.get("id"))
        for result in there
        if result.get("type") == _BARE and results.has_place(result)
    }
    wanted = {id_ for id_ in wanted if mask_id(id_) not in ids}
    return prompts.read(result for result in there if name(result.get("id")) in wanted)


def saved_rectangles(task: Mapping[str, Any]) -> dict[str, Rectangle]:
    """Where each rectangle lies in a task's drafts, annotations and predictions, by its id.

    The newest draft has the last word: it holds the rectangles that were moved later.
    """
    sources = [task.get("predictions"), task.get("annotations")]
    everything = [each for source in sources for each in results.mappings(source)]
    newest = results.newest(task.get("drafts"))
    found = {}
    for saved in (*everything, *([newest] if newest else [])):
        for result in results.of_saved(saved):
            rectangle = _rectangle_of(result)
            if rectangle is not None:
                found[name(result.get("id"))] = rectangle
    return found


def _rectangle(prompt: Prompt) -> Rectangle:
    return prompt.x, prompt.y, prompt.width, prompt.height, prompt.angle


def _rectangle_of(result: Result) -> Rectangle | None:
    if result.get("type") not in RECTANGLE_TYPES:
        return None
    sides = [results.value(result).get(key) for key in ("x", "y", "width", "height", "rotation")]
    sides[4] = sides[4] or 0
    if not all(isinstance(side, int | float) for side in sides):
        return None
    x, y, width, height, angle = (float(side) for side in sides)  # type: ignore[arg-type]
    return x, y, width, height, angle
