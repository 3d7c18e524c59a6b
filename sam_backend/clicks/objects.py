"""From the prompts of one object to its region's id and mask, with caches of earlier answers."""

from __future__ import annotations

import threading
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from cachetools import LRUCache

from sam_backend.clicks import existing_masks, prompts
from sam_backend.clicks.existing_masks import ExistingMask
from sam_backend.clicks.learnt_shapes import Learnt
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.clicks.segmenter import (
    DecodeState,
    ObjectPrompt,
    Segmentation,
    alternatives,
    decoded,
    full_size,
    resume,
)
from sam_backend.engines.protocol import Embedding, Engine
from sam_backend.errors import Refusal
from sam_backend.formats.mask import Mask

KEPT_STATES = 64 << 20  # bytes: of 256 KB each, 1.3 MB after a single click
KEPT_MASKS = 32 << 20  # bytes: of 8 KiB each


class Sized(Protocol):
    """A value that knows its size in memory."""

    @property
    def nbytes(self) -> int: ...


Value = TypeVar("Value", bound=Sized)


class Recent(Generic[Value]):
    """A cache of the last values, bounded by bytes, for many threads."""

    def __init__(self, most_bytes: int) -> None:
        self._values: LRUCache[Hashable, Value] = LRUCache(
            most_bytes, getsizeof=lambda value: value.nbytes
        )
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            return self._values.get(key)

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: Hashable, value: Value) -> None:
        with self._lock:
            self._values[key] = value


class KeptStates(Protocol):
    """Where workers find the answers of each other."""

    def get(self, key: Iterable[Hashable]) -> DecodeState | None: ...

    def put(self, key: Iterable[Hashable], state: DecodeState) -> None: ...


class Objects:
    """Recent answers, so that the next click need not compute them again.

    This only saves time: a request contains everything that its answer depends on. The keys are the
    inputs of an answer, the image's embedding and the prompt. Ids of tasks, regions and prompts are
    no keys, because they may mean something else in another project, or a moment later.
    """

    def __init__(self, kept: KeptStates | None = None) -> None:
        """`kept` has the answers of all workers, and of the time before a restart."""
        self._kept = kept
        self._states: Recent[DecodeState] = Recent(KEPT_STATES)
        self._masks: Recent[existing_masks.Packed] = Recent(KEPT_MASKS)

    def has_masks(self, task: Mapping[str, Any]) -> bool:
        """Whether a click in this task might correct a mask."""
        return existing_masks.has_masks(task)

    def read_ahead(self, task: Mapping[str, Any]) -> None:
        """Reads the masks that a task's clicks might correct."""
        existing_masks.read_ahead(task, self._masks)

    def existing(self, task: Mapping[str, Any], target: Target) -> list[ExistingMask]:
        """The masks that a task has on the target's page, with its label."""
        return existing_masks.on_target(task, target, self._masks)

    def existing_of_any_label(self, task: Mapping[str, Any], target: Target) -> list[ExistingMask]:
        """The masks that a task has on the target's page."""
        return existing_masks.on_page(task, target, self._masks)

    def touching(self, task: Mapping[str, Any], target: Target, mask: Mask) -> list[ExistingMask]:
        """The masks on the target's page that seem to overlap a mask (H, W)."""
        return existing_masks.touching(task, target, mask, self._masks)

    def segment(
        self,
        engine: Engine,
        embedding: Embedding,
        task: Mapping[str, Any],
        target: Target,
        group: Sequence[Prompt],
        sent: Container[str],
        candidates: int = 1,
        learnt: Learnt | None = None,
    ) -> list[tuple[str, Segmentation]]:
        """The id of the region that an object's prompts draw, and its mask.

        The id is made from the first prompt in this request, so that the next answer replaces this
        one. It is not made from a joined prompt, because that prompt's mask may have been accepted
        and would be overwritten. If the prompts correct an existing mask, the id is that mask's id.

        An object without an existing mask gets up to `candidates` masks, the best one first.
        `learnt` describes the masks of the target's label that annotators kept.
        """
        prompt = prompts.object_prompt(group, target)
        start, region = self._start(engine, embedding, task, target, group, learnt)
        if prompt.box is None and not prompt.labels.any() and region is None:
            raise Refusal(
                "prompt",
                "there are only negative keypoints: place a positive one (without Alt) or a "
                "rectangle on the object first",
            )
        # What the clicks are decoded on top of is part of what a state answers.
        base = None if region is None else region.packed.tobytes()
        key = (embedding.digest, *prompt.beginning, base)
        state = self._decoded(engine, embedding, prompt, key, learnt, start)
        segmentation = full_size(embedding, prompt, state)
        if region is not None:
            whole = existing_masks.changed_where_clicked(region, segmentation, prompt, target)
            return [(region.id, whole)]
        first = next((p for p in group if p.id in sent), group[0])
        own = prompts.mask_id(first.id)
        if candidates > 1:
            choice = alternatives(segmentation, embedding, candidates)
            return [(own if i == 0 else f"{own}~{i + 1}", each) for i, each in enumerate(choice)]
        return [(own, segmentation)]

    def low_res(
        self,
        engine: Engine,
        embedding: Embedding,
        target: Target,
        group: Sequence[Prompt],
    ) -> Mask:
        """The low-res mask (256, 256) of an object's prompts, whatever masks the task has."""
        prompt = prompts.object_prompt(group, target)
        key = (embedding.digest, *prompt.beginning, None)
        state = self._decoded(engine, embedding, prompt, key, None)
        return embedding.frame.low_res_mask(state.logits)

    def _decoded(
        self,
        engine: Engine,
        embedding: Embedding,
        prompt: ObjectPrompt,
        key: tuple[Hashable, ...],
        learnt: Learnt | None,
        start: DecodeState | None = None,
    ) -> DecodeState:
        """The answer to a prompt. Each decode is kept, also if a later one is refused."""
        key = *key, learnt and learnt.digest
        known = self._states.get(key) or start
        # Without the name of its weights, an engine could continue the answer of another model.
        fingerprint = getattr(engine, "fingerprint", None)
        kept = self._kept if fingerprint else None
        if kept is not None and _decodes(prompt, known) > 1:
            elsewhere = kept.get((fingerprint, *key))
            if elsewhere is not None and _decodes(prompt, elsewhere) < _decodes(prompt, known):
                known = elsewhere

        def keep(state: DecodeState) -> None:
            self._states.put(key, state)
            if kept is not None:
                kept.put((fingerprint, *key), state)

        return decoded(engine, embedding, prompt, known, keep, learnt)

    def _start(
        self,
        engine: Engine,
        embedding: Embedding,
        task: Mapping[str, Any],
        target: Target,
        group: Sequence[Prompt],
        learnt: Learnt | None,
    ) -> tuple[DecodeState | None, ExistingMask | None]:
        """The start for the clicks: the mask that they correct, if there is one."""
        if any(prompt.is_rectangle for prompt in group):
            return None, None
        known = self.existing(task, target)
        alone: list[DecodeState] = []

        def low_res_mask() -> Mask:
            # Asked with each click of an object, and answered with its first.
            first = prompts.object_prompt(group[:1], target)
            key = (embedding.digest, *first.beginning, "alone")
            alone.append(self._decoded(engine, embedding, first, key, learnt))
            mask: Mask = alone[0].logits > 0
            return mask

        region = existing_masks.corrected(group[0], target, known, low_res_mask)
        if region is None:
            return (alone[0] if alone else None), None
        return resume(region.logits), region


def _decodes(prompt: ObjectPrompt, state: DecodeState | None) -> int:
    """How many decodes a prompt takes after a state."""
    if state is None or not prompt.extends(state.prompt):
        return prompt.decodes
    return len(prompt.points) - len(state.prompt.points)
