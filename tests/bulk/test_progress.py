"""The progress of a run over many tasks, where it goes into a log file."""

from __future__ import annotations

from io import StringIO

import pytest

from sam_backend.bulk import progress


def test_a_log_file_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_S", 0.0)
    log = StringIO()
    with progress.progress(2, log) as shown:
        shown.update()
        shown.update()
    assert "\r" not in log.getvalue()
    assert log.getvalue().splitlines()[0].startswith("0/2 tasks")
    assert "2/2 tasks" in log.getvalue()


def test_a_log_file_gets_few_lines() -> None:
    log = StringIO()
    with progress.progress(1000, log) as shown:
        for _ in range(1000):
            shown.update()
    assert len(log.getvalue().splitlines()) <= 3
