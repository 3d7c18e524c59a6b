"""How a project is found by its number: `/setup` adds the time when it was made."""

from __future__ import annotations

from pathlib import Path

from sam_backend.shared.projects import StudioConnection
from sam_backend.shared.state import State

ONE, OTHER = (
    StudioConnection("http://one.example", "f00d"),
    StudioConnection("http://other.example", None),
)


def test_a_project_by_its_number(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    assert state.numbered(3) is None
    assert state.numbered(None) is None
    state.remember_setup("3.1795225349", ONE, {})
    state.remember_setup("31.1795225350", OTHER, {})
    state.remember_setup("5.1795225350", None, {})  # it told of no Label Studio
    found = state.numbered(3)
    assert found is not None
    assert (found.id, found.from_setup) == ("3.1795225349", ONE)
    assert state.numbered(1) is None
    assert state.numbered(5) is None
    last = state.numbered(None)
    assert last is not None
    assert last.from_setup == OTHER


def test_a_number_without_a_time(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    state.remember_setup("7", ONE, {})
    found = state.numbered(7)
    assert found is not None
    assert found.from_setup == ONE
