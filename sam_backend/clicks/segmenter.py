"""From prompts to one mask: chooses the engine's inputs, and combines its four masks.

First click: it is ambiguous (a part, the whole, a group), so one of the four masks is chosen, see
`first_click`.

Rectangle: it bounds the object, so the four masks are averaged, and masks that reach all its sides
count most, see `rectangle`. Doubtful pixels belong to the object, and nothing outside remains.

Later clicks: they are decoded on top of the last answer, see `later_clicks`.

A click that is still on the wrong side then gets the spot around it, see `clicked_spots`, and
specks are removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sam_backend.clicks import clicked_spots, first_click, later_clicks, rectangle
from sam_backend.clicks.learnt_shapes import Learnt
from sam_backend.engines.frame import LOW_RES_SIDE, Floats, Frame, Indices
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.formats.mask import Mask

SAME_MASK = 0.85  # the IoU above which an alternative is a duplicate

_NO_CANDIDATES = np.zeros((0, LOW_RES_SIDE, LOW_RES_SIDE), np.float32), np.zeros(0, np.float32)


@dataclass(frozen=True)
class ObjectPrompt:
    """All prompts of one object, in image pixels, in the order of placement."""

    points: Floats  # (N, 2) x, y
    labels: Floats  # (N,) 1 positive, 0 negative
    box: Floats | None  # (4,) x0, y0, x1, y1

    @property
    def decodes(self) -> int:
        """How many decodes it takes from the start: the box first, then each click."""
        return len(self.points) + (self.box is not None)

    def first(self, count: int) -> ObjectPrompt:
        """The box, and the first clicks only."""
        return ObjectPrompt(self.points[:count], self.labels[:count], self.box)

    @property
    def beginning(self) -> tuple[bytes, bytes]:
        """The part that is decoded first: the box or the first click. Later clicks keep it."""
        if self.box is not None:
            return self.box.tobytes(), b""
        return self.points[:1].tobytes(), self.labels[:1].tobytes()

    def extends(self, earlier: ObjectPrompt) -> bool:
        """Whether this is the earlier prompt, perhaps with more clicks."""
        start = self.first(len(earlier.points))
        return (
            np.array_equal(start.points, earlier.points)
            and np.array_equal(start.labels, earlier.labels)
            and (start.box is None) == (earlier.box is None)
            and (start.box is None or np.array_equal(start.box, np.asarray(earlier.box)))
        )


def no_prompt() -> ObjectPrompt:
    """Before the first click."""
    return ObjectPrompt(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), None)


@dataclass(frozen=True)
class DecodeState:
    """The result of one answer, for the next one. It never changes a mask, but saves decodes."""

    prompt: ObjectPrompt
    logits: Floats  # (256, 256) low-res, of the answered mask
    score: float
    # Low-res logits (4, 256, 256) and scores (4,) of the candidates for a single click, or none.
    candidates: Floats
    candidate_scores: Floats
    resumed: bool = False  # whether it began with an existing mask

    @property
    def nbytes(self) -> int:
        return int(self.logits.nbytes + self.candidates.nbytes)


@dataclass(frozen=True)
class Segmentation:
    """The mask of one object at the image's size, and the model's score of it, 0 to 1."""

    mask: Mask  # (H, W)
    score: float
    state: DecodeState


def segment(
    engine: Engine,
    embedding: Embedding,
    prompt: ObjectPrompt,
    state: DecodeState | None = None,
    learnt: Learnt | None = None,
) -> Segmentation:
    """The mask for a prompt. `decoded` explains the arguments."""
    return full_size(embedding, prompt, decoded(engine, embedding, prompt, state, learnt=learnt))


def full_size(embedding: Embedding, prompt: ObjectPrompt, state: DecodeState) -> Segmentation:
    """The answer to a prompt at the image's size."""
    mask = embedding.frame.mask(state.logits)
    pixels, positive = _pixels(embedding, prompt.points), prompt.labels > 0
    if (mask[pixels[:, 1], pixels[:, 0]] != positive).any():  # two clicks share a low-res pixel
        logits = embedding.frame.upsample(state.logits)
        clicked_spots.claim(logits, pixels, positive)
        mask = logits > 0
    if prompt.box is not None:
        _keep_to_box(mask, prompt)
    return Segmentation(mask, state.score, state)


def decoded(
    engine: Engine,
    embedding: Embedding,
    prompt: ObjectPrompt,
    state: DecodeState | None = None,
    keep: Callable[[DecodeState], object] = lambda _state: None,
    learnt: Learnt | None = None,
) -> DecodeState:
    """The answer to a prompt at low resolution.

    The box is decoded first, then each click on top of the last answer. A state with the start of
    this prompt, from this engine and image, saves these decodes. A state of another prompt is
    ignored. `keep` gets the state after each decode. `learnt` describes the masks of the prompt's
    label that annotators kept. A state must come from the same `learnt`.
    """
    if state is not None and not prompt.extends(state.prompt):
        state = None
    if state is None:
        beginning = prompt.first(0 if prompt.box is not None else 1)
        state = _begin(engine, embedding, beginning, learnt)
        keep(state)
    for count in range(len(state.prompt.points) + 1, len(prompt.points) + 1):
        state = _continue(engine, embedding, prompt.first(count), state)
        keep(state)
    return state


def resume(logits: Floats) -> DecodeState:
    """An existing mask (256, 256) as a state, to which the first click adds."""
    return restored(no_prompt(), logits, 1.0, resumed=True)


def restored(
    prompt: ObjectPrompt, logits: Floats, score: float, *, resumed: bool = False
) -> DecodeState:
    """An answer whose candidates are not known any more. Further clicks do not need them."""
    return DecodeState(prompt, logits, score, *_NO_CANDIDATES, resumed)


def alternatives(answer: Segmentation, embedding: Embedding, most: int) -> list[Segmentation]:
    """The answered mask, and smaller and larger candidates for one click, best first.

    Each has a state of its own, so that further clicks can refine it.
    """
    others = other_states(answer.state, embedding, most - 1)
    scaled = (Segmentation(embedding.frame.mask(o.logits), o.score, o) for o in others)
    return [answer, *scaled]


def other_states(state: DecodeState, embedding: Embedding, most: int) -> list[DecodeState]:
    """The states of up to `most` other candidates for the one click of a state, best first."""
    if not len(state.candidates):
        return []
    frame = embedding.frame
    x, y = frame.spots(state.prompt.points[:1])[0]
    found, masks = list[DecodeState](), [frame.cut(state.logits) > 0]
    for index in np.argsort(-state.candidate_scores):
        mask = frame.cut(state.candidates[index]) > 0
        if len(found) < most and mask[y, x] and not any(_is_same(mask, other) for other in masks):
            score = float(np.clip(state.candidate_scores[index], 0, 1))
            found.append(replace(state, logits=state.candidates[index], score=score))
            masks.append(mask)
    return found


def _is_same(one: Mask, other: Mask) -> bool:
    return bool((one & other).sum() > SAME_MASK * (one | other).sum())


def _begin(
    engine: Engine, embedding: Embedding, prompt: ObjectPrompt, learnt: Learnt | None
) -> DecodeState:
    frame = embedding.frame
    facts = engine.facts
    chosen = facts.single
    decoded = first_click.decoded(engine, embedding, prompt.points, prompt.labels, prompt.box)
    candidates, scores = decoded
    if prompt.box is None:
        spots, masks = frame.spots(prompt.points[prompt.labels > 0]), frame.cut(candidates) > 0
        chosen = first_click.likeliest(masks, scores, spots, learnt)
        logits = candidates[chosen]
    else:
        weights = rectangle.weights(frame.cut(candidates), frame.low_res_box(prompt.box), facts)
        logits = np.tensordot(weights, candidates, axes=1) + np.float32(facts.box_doubt)
    return _settle(frame, prompt, logits, decoded, chosen)


def _continue(
    engine: Engine, embedding: Embedding, prompt: ObjectPrompt, state: DecodeState
) -> DecodeState:
    logits, decoded = later_clicks.answered(
        engine,
        embedding,
        (prompt.points, prompt.labels, prompt.box),
        state.logits,
        resumed=state.resumed,
    )
    settled = _settle(embedding.frame, prompt, logits, decoded, engine.facts.single)
    return replace(settled, resumed=state.resumed)


def _settle(
    frame: Frame, prompt: ObjectPrompt, logits: Floats, decoded: tuple[Floats, Floats], chosen: int
) -> DecodeState:
    """The state after an answer, with each click on its side, and without specks."""
    candidates, scores = decoded
    spots = frame.spots(prompt.points)
    edited = logits.copy()
    used = frame.cut(edited)
    clicked_spots.claim(used, spots, prompt.labels > 0)
    clicked_spots.clean(used, spots)
    is_ambiguous = prompt.box is None and len(prompt.points) == 1
    offered = (candidates, scores) if is_ambiguous else _NO_CANDIDATES
    return DecodeState(prompt, edited, float(np.clip(scores[chosen], 0, 1)), *offered)


def _keep_to_box(mask: Mask, prompt: ObjectPrompt) -> None:
    """Cut the mask to the box, in place, except at parts with a positive click."""
    box = np.rint(np.clip(np.asarray(prompt.box), 0, None)).astype(int)
    clicked = np.floor(prompt.points[prompt.labels > 0])
    if np.all((clicked >= box[:2]) & (clicked < box[2:])):
        x0, y0, x1, y1 = box
        mask[:y0], mask[y1:], mask[:, :x0], mask[:, x1:] = False, False, False, False


def _pixels(embedding: Embedding, points: Floats) -> Indices:
    """Pixels (N, 2) x, y of points (N, 2), none outside the image."""
    pixels = np.floor(points.reshape(-1, 2)).astype(np.intp)
    inside: Indices = np.clip(pixels, 0, [embedding.width - 1, embedding.height - 1])
    return inside
