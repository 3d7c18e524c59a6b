"""Which earlier prompts are joined with the ones just sent, told as an annotator's gestures.

Every sequence below was seen in Label Studio 1.23.2: which contexts, which drafts, in what order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sam_backend.clicks.joining import Draft, EarlierClick, ended, join, newest_draft
from sam_backend.clicks.prompts import Prompt, mask_id
from tests.fakes import keypoint, rectangle


def point(id_: str, x: float = 50, y: float = 50, *, positive: bool = True) -> Prompt:
    return Prompt(id_, x, y, is_positive=positive)


def box(id_: str, x: float = 40, y: float = 40, size: float = 20) -> Prompt:
    return Prompt(id_, x, y, size, size, is_rectangle=True)


@dataclass
class Editor:
    """Sends contexts as the editor does, seconds apart; its draft is saved when a test says so."""

    memory: EarlierClick = field(default_factory=EarlierClick)
    draft: Draft = field(default_factory=lambda: newest_draft([]))
    now: float = 1000.0

    def sends(self, *context: Prompt, after: float = 1.0) -> list[str]:
        """The ids of the prompts that count, when the editor sends this context."""
        self.now += after
        prompts, self.memory = join(context, self.memory, self.draft, self.now, aspect=4 / 3)
        return [prompt.id for prompt in prompts]

    def saves(self, *prompts: str, masks: tuple[str, ...] = ()) -> None:
        accepted = frozenset(map(mask_id, masks))
        self.draft = Draft(f"1@{self.now}", frozenset(prompts), accepted)


def test_a_keypoint_in_a_rectangle_refines_its_mask() -> None:
    editor = Editor()
    assert editor.sends(box("r")) == ["r"]
    assert editor.sends(point("k")) == ["r", "k"]


def test_a_negative_keypoint_cuts_a_rectangles_mask() -> None:
    editor = Editor()
    editor.sends(box("r"))
    assert editor.sends(point("k", positive=False)) == ["r", "k"]


def test_a_rectangle_around_keypoints_joins_them() -> None:
    editor = Editor()
    editor.sends(point("a"))
    editor.sends(point("a"), point("b", 55))
    assert editor.sends(box("r")) == ["a", "b", "r"]


def test_joined_prompts_stay_joined_with_each_click() -> None:
    editor = Editor()
    editor.sends(box("r"))
    editor.sends(point("a"))
    assert editor.sends(point("a"), point("b", 90)) == ["r", "a", "b"]
    editor.saves("r", "a", "b")
    assert editor.sends(point("a"), point("b", 90), point("c"), after=300) == ["r", "a", "b", "c"]


def test_a_moved_prompt_is_taken_where_it_is_now() -> None:
    editor = Editor()
    editor.sends(box("r"))
    editor.sends(point("a", 45))
    prompts, _ = join([point("a", 55)], editor.memory, editor.draft, editor.now + 1, 4 / 3)
    assert [(p.id, p.x) for p in prompts] == [("r", 40), ("a", 55)]


def test_after_a_saved_annotation_the_next_keypoint_stands_alone() -> None:
    editor = Editor()
    editor.sends(box("r"))
    editor.memory = ended(editor.memory)
    assert editor.sends(point("k")) == ["k"]


def test_object_after_object_may_be_mixed_by_those_whose_prompts_are_seen_to_stay() -> None:
    editor = Editor()
    for i in range(5):
        assert editor.sends(box(f"r{i}")) == [f"r{i}"]
        assert editor.sends(point(f"a{i}")) == [f"r{i}", f"a{i}"]
        assert editor.sends(point(f"a{i}"), point(f"b{i}")) == [f"r{i}", f"a{i}", f"b{i}"]


def test_an_alt_click_alone_cuts_what_was_drawn_last_whoever_accepts_how() -> None:
    editor = Editor()
    for i in range(5):
        assert editor.sends(box(f"r{i}")) == [f"r{i}"]
    assert editor.sends(point("k", positive=False)) == ["r4", "k"]


def test_a_keypoint_outside_of_the_rectangle_is_another_object() -> None:
    editor = Editor()
    editor.sends(box("r"))
    assert editor.sends(point("k", 80)) == ["k"]


def test_a_rectangle_that_misses_a_positive_keypoint_is_another_object() -> None:
    editor = Editor()
    editor.sends(point("a"), point("b", 80))
    assert editor.sends(box("r")) == ["r"]


def test_a_rectangle_unsaved_for_long_is_gone() -> None:
    """A prompt that lives is in the draft 10 s after it was drawn, at the latest."""
    editor = Editor()
    editor.sends(box("r"))
    assert editor.sends(point("k"), after=30) == ["k"]


def test_a_rectangle_in_the_draft_lives_on() -> None:
    editor = Editor()
    editor.sends(box("r"))
    editor.saves("r")
    assert editor.sends(point("k"), after=600) == ["r", "k"]


def test_a_rectangle_missing_in_a_newer_draft_is_gone() -> None:
    """Deleted, rejected, or accepted: the draft does not say which, and it does not matter."""
    editor = Editor()
    editor.sends(box("r"))
    editor.saves()
    assert editor.sends(point("k")) == ["k"]


def test_a_mask_in_the_draft_has_taken_its_prompts_place() -> None:
    editor = Editor()
    editor.sends(box("r"))
    editor.saves(masks=("r",))
    assert editor.sends(point("k")) == ["k"]


def test_a_prompt_only_known_from_a_draft_is_not_joined() -> None:
    """It may be a region drawn by hand: rectangles in a draft do not say that they are smart."""
    editor = Editor()
    editor.saves("somebodys_box")
    assert editor.sends(point("k")) == ["k"]


def test_new_keypoints_without_the_old_ones_start_a_new_object() -> None:
    editor = Editor()
    editor.sends(box("r"))
    editor.sends(point("a"))
    assert editor.sends(point("b", 55)) == ["b"]


def test_auto_accept_is_suspected_and_ends_the_joining() -> None:
    """Each answer is accepted at once and its prompts deleted, without a word to us."""
    editor = Editor()
    editor.sends(box("r1"))
    editor.sends(box("r2"))
    assert editor.sends(point("k")) == ["k"]
    editor.sends(box("r3"))
    assert editor.sends(point("k2")) == ["k2"]


def test_auto_accept_is_recognised_by_two_masks_of_one_object() -> None:
    editor = Editor()
    editor.sends(box("r"))
    assert editor.sends(point("k")) == ["r", "k"]  # nothing tells yet
    editor.saves(masks=("r", "k"))
    editor.sends(box("r2"))
    assert editor.sends(point("k2")) == ["k2"]


def test_a_rejected_mask_does_not_end_the_joining_for_those_whose_prompts_stay() -> None:
    editor = Editor()
    editor.sends(point("a"))
    editor.sends(point("a"), point("b"))
    editor.sends(box("r1", 10, 10))
    assert editor.sends(box("r2")) == ["r2"]  # r1 was rejected
    assert editor.sends(point("k")) == ["r2", "k"]


def test_the_clock_may_jump_back() -> None:
    editor = Editor()
    editor.sends(box("r"))
    assert editor.sends(point("k"), after=-3600) == ["k"]


def test_a_context_with_both_kinds_is_taken_as_it_is() -> None:
    editor = Editor()
    editor.sends(box("old"))
    assert editor.sends(box("r"), point("k")) == ["r", "k"]


def saved(id_: int, updated: str, *regions: dict[str, Any]) -> dict[str, Any]:
    return {"id": id_, "updated_at": updated, "result": list(regions)}


def test_the_newest_draft_counts() -> None:
    drafts = [
        saved(1, "2026-11-21T01:42:54Z", keypoint("new", 1, 1)),
        saved(2, "2026-11-20T01:42:54Z", keypoint("old", 1, 1)),
    ]
    assert newest_draft(drafts).prompt_ids == {"new"}


def test_a_draft_tells_prompts_from_masks() -> None:
    """A mask is saved once per label control, also under the prompt's own type."""
    mask = {**keypoint("mask", 1, 1), "value": {"format": "rle", "rle": [0], "labels": ["Car"]}}
    draft = newest_draft(
        [saved(1, "2026", rectangle("r", 1, 1, 2, 2), mask, {**mask, "type": "brushlabels"})]
    )
    assert draft.prompt_ids == {"r"}
    assert draft.mask_ids == {"mask"}


def test_drafts_in_no_known_form_say_nothing() -> None:
    nothings: list[object] = [None, [], "x", [None], [{"result": None}], [{"result": [None, {}]}]]
    for drafts in nothings:
        assert newest_draft(drafts).prompt_ids == frozenset()
