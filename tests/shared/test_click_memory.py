"""How often a click looks at the file that workers share, and what it does without it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from sam_backend.shared import kept_shapes
from sam_backend.shared.earlier_clicks import EarlierClicks
from sam_backend.shared.projects import Project, StudioConnection
from sam_backend.shared.state import State
from tests.fakes import keypoint, request_body

STUDIO = StudioConnection("http://studio.example", "token")


def test_a_click_on_a_known_image_opens_the_shared_file_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = keypoint("a", 30, 30), keypoint("b", 33, 33)
    monkeypatch.setattr(kept_shapes, "SETTLED_NS", 0)  # its file is as new as this test
    client.post("/predict", json=request_body([first]))
    opened: list[str] = []
    connect = sqlite3.connect

    def counted(path: Any, **options: Any) -> sqlite3.Connection:
        opened.append(str(path))
        connection: sqlite3.Connection = connect(path, **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", counted)
    answer = client.post("/predict", json=request_body([first, second])).get_json()
    assert answer["results"][0]["result"]
    names = [Path(urlsplit(path).path).name for path in opened]
    by_the_click = [name for name in names if name != "clicks.sqlite3"]  # a thread writes that one
    assert by_the_click == ["state.sqlite3"]


def test_a_file_that_cannot_be_written_still_tells_of_the_project(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    state.remember_setup("7", STUDIO, {"candidates": 3})
    tried: list[Project] = []

    def plan(project: Project, _memories: EarlierClicks) -> Project:
        tried.append(project)
        if len(tried) == 1:
            raise sqlite3.OperationalError("database or disk is full")
        return project

    assert state.click("7", "1", plan) == Project("7", STUDIO, {"candidates": 3})
    assert len(tried) == 2
