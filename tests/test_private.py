"""Tokens and embeddings are on disk for their owner alone, whatever the umask and who was there."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sam_backend.clicks.segmenter import resume
from sam_backend.embeddings.content_index import ContentIndex
from sam_backend.embeddings.store import EmbeddingStore
from sam_backend.engines.frame import LOW_RES_SIDE
from sam_backend.services import Services
from sam_backend.shared.kept_answers import KeptAnswers
from sam_backend.shared.projects import StudioConnection
from sam_backend.shared.state import State
from tests.embeddings.test_store import MB, embedding
from tests.needs import REPOSITORY

LOGITS = np.zeros((LOW_RES_SIDE, LOW_RES_SIDE), np.float32)
STUDIO = StudioConnection("http://studio.example", "f00d")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """Everything in a folder, and itself, that others may read, write or list."""
    found = [folder, *folder.rglob("*")]
    return sorted(p.name for p in found if p.exists() and p.stat().st_mode & 0o077)


def fill(folder: Path) -> EmbeddingStore:
    """A cache folder as a server makes it."""
    store = EmbeddingStore(folder / "embeddings", MB)
    with store.lock("a"):
        store.put("a", embedding(1))
    ContentIndex(folder / "sources.sqlite3").put("http://h/a.png", "content", None)
    KeptAnswers(folder).put(["key"], resume(LOGITS))
    return store


@pytest.mark.usefixtures("_umask")
def test_a_new_cache_is_its_owners_alone(tmp_path: Path) -> None:
    fill(tmp_path / "cache")
    assert open_to_others(tmp_path / "cache") == []


@pytest.mark.usefixtures("_umask")
def test_the_shared_state_is_its_owners_alone(tmp_path: Path) -> None:
    state = State.in_folder(tmp_path)
    state.remember_setup("1", STUDIO, {})
    with state._database.transaction() as db:
        db.execute("delete from setups")
        assert {path.name for path in tmp_path.iterdir()} == {
            "state.sqlite3",
            "state.sqlite3-journal",
        }
        assert set(open_to_others(tmp_path)) <= {tmp_path.name}


def loosen(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


def test_a_cache_that_was_open_to_others_is_closed_at_start(tmp_path: Path) -> None:
    fill(tmp_path / "cache")
    (tmp_path / "cache" / "embeddings" / "b.1-1.tmp").write_text("a writer was killed")
    loosen(tmp_path / "cache")
    store = fill(tmp_path / "cache")
    assert open_to_others(tmp_path / "cache") == []
    assert store.get("a") is not None


def test_a_state_that_was_open_to_others_is_closed_at_start(
    services: Callable[..., Services], tmp_path: Path
) -> None:
    services().state.remember_setup("1", STUDIO, {})
    (tmp_path / "weights.onnx").write_text("")
    loosen(tmp_path)
    made = services()
    assert made.state.project("1").from_setup == STUDIO
    # Others may need the weights, so the model folder stays as it is.
    assert open_to_others(tmp_path) == sorted([tmp_path.name, "weights.onnx"])


@pytest.mark.parametrize("why", ["other files", "sticky"])
def test_a_folder_that_others_use_too_stays_open_to_them(tmp_path: Path, why: str) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    if why == "other files":
        (folder / "notes.txt").write_text("")
    folder.chmod(0o1777 if why == "sticky" else 0o755)
    before = folder.stat().st_mode
    fill(folder)
    assert folder.stat().st_mode == before
    assert set(open_to_others(folder)) <= {"shared", "notes.txt"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "cache")
    other = tmp_path / "other"
    other.write_text("")
    other.chmod(0o644)
    (tmp_path / "cache" / "embeddings" / "x.embedding").symlink_to(other)
    fill(tmp_path / "cache")
    assert other.stat().st_mode & 0o777 == 0o644


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


def test_files_of_another_user_cost_a_line_and_no_mask(public: Path) -> None:
    """Root may change what it likes, so somebody else tries."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    fill(public / "cache")
    State.in_folder(public).remember_setup("1", STUDIO, {})
    loosen(public)
    program = """
        import logging, os, sys
        import numpy.random  # loaded now, because the other user may not read this Python
        from pathlib import Path
        from sam_backend.shared.state import State
        from tests.test_private import STUDIO, fill
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
        logging.basicConfig(format="%(message)s")
        folder = Path(sys.argv[1])
        assert State.in_folder(folder).project("1").from_setup == STUDIO
        store = fill(folder / "cache")
        assert store.get("a") is not None
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(public)],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert all("belongs to another user" in line for line in lines)
    assert 1 <= len(lines) <= 6  # one for a folder or a database


def test_nothing_is_said_where_nothing_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        fill(tmp_path / "cache")
        fill(tmp_path / "cache")
        State.in_folder(tmp_path)
    assert caplog.text == ""
