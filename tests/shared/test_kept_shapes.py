"""What workers share of the masks that annotators keep."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from sam_backend.clicks.kept_masks import KeptMask
from sam_backend.clicks.learnt_shapes import LEAST, MOST
from sam_backend.shared.kept_shapes import KeptShapes

SHAPE = np.array([-3.0, 0.8])


@pytest.fixture
def kept(tmp_path: Path) -> KeptShapes:
    return KeptShapes.in_folder(tmp_path)


def masks(count: int, label: str = "Car", first: int = 0) -> list[KeptMask]:
    return [KeptMask(label, f"r{first + n}", SHAPE) for n in range(count)]


def counts(kept: KeptShapes) -> dict[tuple[str, str], int]:
    return {(each.project, each.label): each.count for each in kept.known() or []}


def test_enough_masks_of_a_label_are_learnt_from(kept: KeptShapes) -> None:
    kept.put("1", "10", masks(LEAST - 1))
    assert kept.learnt("1", "Car") is None
    kept.put("1", "11", masks(1))
    learnt = kept.learnt("1", "Car")
    assert learnt is not None
    assert learnt.count == LEAST
    assert np.array_equal(learnt.usual, SHAPE)


def test_projects_and_labels_are_kept_apart(kept: KeptShapes) -> None:
    kept.put("1", "10", masks(LEAST))
    assert kept.learnt("1", "Bike") is None
    assert kept.learnt("2", "Car") is None


def test_another_worker_and_a_restart_see_the_same(kept: KeptShapes, tmp_path: Path) -> None:
    kept.put("1", "10", masks(LEAST))
    other = KeptShapes.in_folder(tmp_path).learnt("1", "Car")
    own = kept.learnt("1", "Car")
    assert own is not None
    assert other is not None
    assert own.digest == other.digest


def test_the_file_is_read_again_only_after_a_change(
    kept: KeptShapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.put("1", "10", masks(LEAST))
    before = time.time_ns() - 60 * 10**9
    os.utime(kept.path, ns=(before, before))  # a minute ago
    first = kept.learnt("1", "Car")
    with monkeypatch.context() as patched:
        patched.setattr(KeptShapes, "_read", None)
        assert kept.learnt("1", "Car") is first
    kept.put("1", "11", masks(LEAST, first=LEAST))
    learnt = kept.learnt("1", "Car")
    assert learnt is not None
    assert learnt.count == 2 * LEAST


def test_a_changed_annotation_replaces_its_masks(kept: KeptShapes) -> None:
    kept.put("1", "10", masks(6))
    kept.put("1", "10", masks(2))
    assert counts(kept) == {("1", "Car"): 2}
    kept.put("1", "10", masks(2, label="Bike"))
    assert counts(kept) == {("1", "Bike"): 2}


def test_a_deleted_annotation_is_forgotten(kept: KeptShapes) -> None:
    kept.put("1", "10", masks(3))
    kept.put("1", "11", masks(3))
    kept.put("2", "10", masks(3))
    kept.forget_annotations("1", ["10"])
    assert counts(kept) == {("1", "Car"): 3, ("2", "Car"): 3}


def test_a_project_is_forgotten_as_a_whole(kept: KeptShapes) -> None:
    kept.put("1", "10", [*masks(3), *masks(3, label="Bike")])
    kept.put("2", "10", masks(3))
    kept.forget_project("1")
    assert counts(kept) == {("2", "Car"): 3}


def test_the_file_does_not_grow_without_end(kept: KeptShapes) -> None:
    for annotation in range(4):
        kept.put("1", str(annotation), masks(MOST // 2))
    assert counts(kept) == {("1", "Car"): MOST}
    kept.put("1", "99", masks(3))
    assert counts(kept) == {("1", "Car"): MOST}, "the first ones stay, so that masks stay the same"


def test_texts_that_nobody_types_are_not_kept(kept: KeptShapes) -> None:
    kept.put("1", "10", masks(1, label="x" * 10_000))
    assert counts(kept) == {}


def test_a_file_that_cannot_be_used_costs_no_mask(kept: KeptShapes, tmp_path: Path) -> None:
    kept.put("1", "10", masks(LEAST))
    kept.path.write_bytes(b"no database")
    assert kept.learnt("1", "Car") is None
    kept.put("1", "10", masks(LEAST))
    after_a_restart = KeptShapes.in_folder(tmp_path)
    after_a_restart.put("1", "10", masks(LEAST))
    assert after_a_restart.learnt("1", "Car") is not None
