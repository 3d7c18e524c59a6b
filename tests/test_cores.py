"""How many cores a worker takes itself to have: a container may have fewer than its machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_backend.cores import cores


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("6400000 100000\n", 16),  # more than there are
        ("max 100000\n", 16),
        ("\n", 16),
        (None, 16),
    ],
)
def test_a_containers_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, expected: int
) -> None:
    file = tmp_path / "cpu.max"
    if limit is not None:
        file.write_text(limit)
    monkeypatch.setattr("sam_backend.cores._CPU_LIMIT", file)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    assert cores() == expected
